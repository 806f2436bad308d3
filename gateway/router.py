"""Which agent answers whom: rules in order of priority, then the default agent."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.agents.base import Target
from gateway.instances import Plan
from gateway.ledger.busy import QUEUE, Manners
from gateway.models import Agent, RoutingRule


@dataclass(frozen=True, slots=True)
class Rule:
    """A routing rule, ready to be tried. Empty patterns fit everything."""

    channel: str
    user_pattern: str
    chat_pattern: str
    agent: int

    def fits(self, channel: str, user_id: str, chat_id: str) -> bool:
        """Whether a conversation falls under it."""
        return (
            self.channel in ("", channel)
            and (not self.user_pattern or fnmatchcase(user_id, self.user_pattern))
            and (not self.chat_pattern or fnmatchcase(chat_id, self.chat_pattern))
        )


class Router:
    """The rules as they stand in the database at the last `load`."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._targets: dict[int, Target] = {}
        self._manners: dict[int, Manners] = {}
        self.plans: dict[int, Plan] = {}
        self._default: int | None = None

    def load(self) -> None:
        """Read agents and rules. Three short queries; called when the database has changed."""
        agents = list(Agent.objects.filter(enabled=True).order_by("id"))
        targets = {agent.pk: target_of(agent) for agent in agents}
        rules = [
            Rule(rule.channel, rule.user_pattern, rule.chat_pattern, rule.agent_id)
            for rule in RoutingRule.objects.filter(enabled=True, agent__enabled=True)
        ]
        default = next((agent.pk for agent in agents if agent.is_default), None)
        if default is None and len(agents) == 1:
            default = agents[0].pk
        self.plans = {agent.pk: plan_of(agent) for agent in agents if agent.command}
        self._manners = {agent.pk: Manners(agent.busy, agent.debounce_seconds) for agent in agents}
        self._targets, self._rules, self._default = targets, rules, default

    def route(self, channel: str, user_id: str, chat_id: str) -> int | None:
        """The agent's row id; None where nothing fits and there is no default."""
        for rule in self._rules:
            if rule.fits(channel, user_id, chat_id):
                return rule.agent
        return self._default

    def manners(self, channel: str, user_id: str, chat_id: str) -> Manners:
        """What is done with messages that come while this conversation's agent is busy."""
        agent = self.route(channel, user_id, chat_id)
        return QUEUE if agent is None else self._manners[agent]

    def target(self, agent: int) -> Target:
        """Where the agent is. Raises `KeyError` if it was removed meanwhile."""
        return self._targets[agent]

    def by_id(self) -> dict[int, Target]:
        """Every enabled agent, by its row id."""
        return dict(self._targets)

    def targets(self) -> list[Target]:
        """Every enabled agent."""
        return list(self._targets.values())

    def is_per_session(self, agent: int) -> bool:
        """Whether each session has a program of its own."""
        return agent in self.plans and self.plans[agent].per_session

    def managed(self, name: str) -> int | None:
        """The row id of the agent of this name, where the gateway runs it."""
        return next((agent for agent, plan in self.plans.items() if plan.name == name), None)


def target_of(agent: Agent) -> Target:
    """Where an agent is, as its row says."""
    return Target(
        name=agent.name,
        url=agent.url,
        protocol=agent.protocol,
        stream=agent.stream,
        model=agent.model,
        api_key=agent.api_key,
    )


def plan_of(agent: Agent) -> Plan:
    """How a managed agent's program is run."""
    return Plan(
        name=agent.name,
        command=agent.command,
        protocol=agent.protocol,
        per_session=agent.instances == Agent.Instances.SESSION,
        max_instances=max(agent.max_instances, 1),
        idle_seconds=agent.idle_seconds,
    )
