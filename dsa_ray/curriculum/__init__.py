"""What is written next and what is trained next: decisions about one state, in numbers."""
