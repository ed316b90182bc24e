"""The rooms of the program; the doors are the files beside this package."""

__version__ = "0.1.0"
