"""The registry for programs: what the admin does with a click, a pipeline does with a call."""
