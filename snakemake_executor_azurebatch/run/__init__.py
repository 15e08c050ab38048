"""One run: submit, watch, judge, bring back."""
