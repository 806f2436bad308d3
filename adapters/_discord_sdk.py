"""discord.py, without a warning for each process: its voice part, unused here, wants audioop."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
    import discord as discord
    import discord.gateway
    import discord.http  # noqa: F401  (seen as `discord.http`)
