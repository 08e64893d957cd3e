"""mmbal: which modality a multimodal classifier listens to, what that costs, and how to mend it."""

__version__ = "0.1.0"
