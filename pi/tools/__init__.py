"""What Pi can do by itself, as plain typed functions: a language model can be given them too."""


class ToolError(Exception):
    """A question that has no answer; the message is a sentence for the person who asked."""
