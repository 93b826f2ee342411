"""Ladders (YODA): a basic question, the same in other forms, and a chain of harder ones, each answered by the student,
told what is wrong, and answered again.

    ladder.py      the state machine: what it waits for, what it makes of each reply
    judging.py     right or wrong, and whether feedback tells the answer
    samples.py     what is learnt from: question -> accepted answer, and the dialogue that led to it
"""
