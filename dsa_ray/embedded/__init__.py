"""What the offline default needs: a syllabus, exact exercise families and writers, a held-out exam, two small models.

    syllabus.yaml   the skills and their prerequisites
    families/       one exercise family per skill: sample, ask, solve exactly
    compose.py      exercises that need two or three skills
    partition.py    which questions belong to the exam and are never written
    hints.py        the steps of an exact solution, without the result
    writers.py      what a perfect teacher answers to any assignment
    exam.py         the held-out exam
    engine.py       the perfect teacher (and one with errors) as a text engine
    recipe/         how the models in models/ are built

To teach a domain of your own without any model hub, write the first two and keep the rest.
"""
