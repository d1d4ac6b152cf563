"""The timed loop: one cell trained, evaluated and measured."""
