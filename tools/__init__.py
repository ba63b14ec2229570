"""What those who work on the library run by hand."""
