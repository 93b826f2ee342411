"""The exam: questions, grading and scores with intervals."""
