"""What a plugin imports: `data`, `engine` and `plugin`."""
