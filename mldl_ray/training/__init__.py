"""From rows and a wish to a judged model: splits, searches, the refit. Not here: Ray, the journal, HTTP."""
