"""When planned sends are due: pure timing, without rows and without a clock."""
