"""The words: names, kinds, defaults, validation. Pure; knows no other room."""
