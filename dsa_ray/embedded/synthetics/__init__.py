"""Tasks whose skills are known, with exact oracles: LEGO and addition, as Skill-It (arXiv 2307.14430) uses them."""
