"""Policy and processes: how messages travel, who may, and what people see of it."""

import sys

# httpx comes with a command line of its own, which loads rich and pygments where other
# packages brought them: five megabytes that no process of ours needs.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: not to be had
