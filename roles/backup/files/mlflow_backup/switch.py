"""What serves is changed for something else that lies ready: a restore, an upgrade, a rollback.

Whoever makes something ready writes into the journal what is to be changed (parts), and what is said of it at the end. switch stops who writes,
changes the places, starts again, and asks MLflow for all that has to be there. recover puts back what a switch that was cut off has left. What each
of them begins is in the journal before it is begun, and whoever comes after needs nothing else.
"""

import sys
import time

from . import judge, services
from .journal import PREPARED, PROVEN, SWITCHING, Journal
from .places import place_of
from .problems import Problem
from .settings import Instance

# Seconds for what has served before: it is only to be said whether it does.
PATIENCE = 120
CONTENT, OUTCOME = "content.json", "outcome.json"
# What the outcome says of whether it was done.
DONE = {"restore": "restored", "upgrade": "upgraded", "rollback": "rolled_back", "move": "moved"}


def tell(text):
    """What is done now: to the journal of systemd."""
    print(text, file=sys.stderr, flush=True)


def stamp(now=None):
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now or time.time()))


class Switch:
    """Of each kind there is a class. state, of the journal: kind; step; now; parts; wanted (start_timeout, keep_previous); running; held (since when
    it waits for another host); notes; samples; about: what the outcome says besides; record: the name under which something is written down for who
    comes later, and recorded: what, if it is not the outcome; doing: what was last begun."""

    kind = ""
    # Whose name differs from the kind's says so.
    playbook = ""

    def __init__(self, settings):
        self.settings, self.instance, self.journal = settings, Instance(settings), Journal(settings)
        self.account = judge.account(settings)

    def places(self, state):
        return [place_of(part, self.account, self.instance) for part in state["parts"]]

    def step(self, state, text):
        """Whoever finds this cut off can say where."""
        state["doing"] = text.rstrip(".")
        self.journal.write(state)
        tell(text)

    def begin(self, now, wanted, parts, about, **more):
        state = {"kind": self.kind, "step": PREPARED, "now": stamp(now), "wanted": wanted, "parts": parts, "about": about, "notes": [], "samples": {},
                 **more}
        self.journal.write(state)
        return state

    def switch(self):
        self.journal.remove(OUTCOME)
        state = self.journal.read()
        if not state or state["step"] != PREPARED or self.journal.read(CONTENT) is None:
            done = DONE[self.kind].replace("_", " ")
            raise Problem(f"Nothing is ready to be {done} on this host: run playbooks/{self.playbook or self.kind}.yml.")
        state.update(step=SWITCHING, running=state.get("running", services.running()))
        server, begin = services.Server(self.settings["url"]), time.monotonic()
        # For another host it was away before.
        waited = max(0, time.time() - state["held"]) if "held" in state else 0
        try:
            self.step(state, f"Stopping {', '.join(state['running']) or 'nothing, for nothing runs'}.")
            services.stop()
            self.while_stopped(state)
            for place in self.places(state):
                self.step(state, f"Changing {type(place).__name__}.")
                place.still()
                place.apply()
            self.step(state, f"Starting MLflow with what is {DONE[state['kind']].replace('_', ' ')}.")
            services.start([*state["running"], services.MLFLOW])
            server.wait(state["wanted"]["start_timeout"])
            state["downtime"] = round(waited + time.monotonic() - begin, 1)
            self.step(state, "Asking MLflow for all that there has to be.")
            services.prove(server, self.journal.read(CONTENT), state["samples"])
            tell("Proven.")
        except BaseException as exc:
            self.put_back(state, exc)
            raise
        state["step"] = PROVEN
        self.journal.write(state)
        return self.finish(state)

    def hold(self):
        """Stops who writes here before another host switches the database that they share. Which they were: for whoever switches or recovers."""
        state = self.journal.read()
        if not state or state["step"] != PREPARED:
            raise Problem(f"Nothing is ready on this host: run playbooks/{self.kind}.yml.")
        if "held" not in state:
            state.update(running=services.running(), held=time.time())
        self.journal.write(state)
        services.stop()
        return {"held": state["running"]}

    def while_stopped(self, state):
        """What has to be made of what is there when nobody writes any more."""

    def finish(self, state):
        """What served before is kept, or not; nothing else is left."""
        places = self.places(state)
        if not state["wanted"]["keep_previous"]:
            for place in places:
                place.forget()
        outcome = {**state["about"], DONE[state["kind"]]: True, "at": state["now"], "downtime": state["downtime"],
                   "kept": [place.kept for place in places if place.kept], "notes": state["notes"]}
        recorded = state.get("recorded", outcome)
        if recorded is None:
            self.journal.remove(state["record"])
        else:
            self.journal.write(recorded, state["record"])
        self.journal.write(outcome, OUTCOME)
        self.discard(state)
        return outcome

    def put_back(self, state, why, start=True):
        """What served before serves again, wherever the switch was cut off."""
        tell(f"Putting back what served before: {why}")
        if start:
            services.stop()
        for place in reversed(self.places(state)):
            place.revert()
        ends = "What served before is in its place again"
        if start:
            try:
                if self.start_again(state["running"], state):
                    ends += ", and serves"
            except Problem as exc:
                ends += f". {exc}"
        why = f"{str(why).rstrip('.')}. {ends.rstrip('.')}."
        self.journal.write({**state["about"], DONE[state["kind"]]: False, "doing": state.get("doing", ""), "why": why}, OUTCOME)
        self.discard(state)

    def start_again(self, units, state):
        """Whether MLflow serves again, which is so if it did before."""
        services.start(units)
        if services.MLFLOW in units:
            services.Server(self.settings["url"]).wait(max(state["wanted"]["start_timeout"], PATIENCE))
        return services.MLFLOW in units

    def discard(self, state):
        for place in self.places(state):
            place.discard()
        self.journal.remove(CONTENT)
        self.journal.remove()

    def recover(self, start=True):
        """After one of whatever kind that was killed, or a host that went down."""
        state = self.journal.read()
        if not state:
            return {"recovered": ""}
        if state["step"] == PROVEN:
            self.finish(state)
            return {"recovered": "finished"}
        if state["step"] == SWITCHING:
            self.put_back(state, f"The {state['kind']} was cut off", start)
            return {"recovered": "put back"}
        self.discard(state)
        if start:
            # Of one that was held for another host.
            self.start_again(state.get("running", []), state)
        return {"recovered": "discarded"}
