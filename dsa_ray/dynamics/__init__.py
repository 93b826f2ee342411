"""Training dynamics: loss histories, baselines, verdicts and what follows from them. Pure Python and numpy.

history = LossHistory(config)         losses per visit, as residuals against their cohort
judge = Judge(config)                 running baselines, verdicts per completed cycle
policy = Policy(config)               decisions: drop, augment, compose, down_weight, keep

history.observe(step, ids, visits, losses, tokens)      as ranks report, in any order
history.close_step(step)                                once all ranks have reported
for verdict in judge.verdicts(history.completed(), history.is_planted, skills_of):
    decision = policy.decide(verdict, facts)
"""
