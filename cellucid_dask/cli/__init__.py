"""The command line: options, commands, demo."""
