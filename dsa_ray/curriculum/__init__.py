"""What is trained when: the curator and its plans."""
