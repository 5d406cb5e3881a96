"""The command ``crysearch``."""
