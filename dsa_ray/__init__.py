"""dsa_ray: teach a language model a new complex skill (Dynamic Skill Adaptation, arXiv 2412.19361)."""

__version__ = "0.1.0"
