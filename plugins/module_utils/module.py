# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one place where modules get their status, diff, check mode, log line and error text."""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.arguments import connection_spec
from ansible_collections.sparkflows.mlops.plugins.module_utils.client import SparkflowsClient
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError


class Outcome:
    """What a module did or found: `changed` and the diff both follow from before and after, so they cannot disagree."""

    def __init__(self, before=None, after=None, header="", **result):
        self.before, self.after, self.header, self.result = before, after, header, result


class MlopsModule(AnsibleModule):
    """A module that talks to one server: `make_client` and `connection_spec` say to which."""

    connection_spec = make_client = None

    def __init__(self, argument_spec, **kwargs):
        self._client = None
        spec = dict(type(self).connection_spec(), **argument_spec)
        super().__init__(argument_spec=spec, supports_check_mode=True, **kwargs)

    @property
    def client(self):
        if self._client is None:
            self._client = type(self).make_client(self.params, self.warn)
        return self._client

    def run(self, work):
        """Call work(module), which returns an Outcome or raises MlopsError, and end the module with the result."""
        failure = outcome = None
        try:
            outcome = work(self)
        except MlopsError as error:
            failure = error
        if failure:  # outside of the except block: the text is for operators, a traceback would only hide it
            self.fail_json(msg=str(failure), **failure.details)
        result = dict(outcome.result, changed=outcome.before != outcome.after)
        if self._diff and result["changed"]:
            headers = dict(before_header=outcome.header, after_header=outcome.header) if outcome.header else {}
            result["diff"] = dict(headers, before=outcome.before, after=outcome.after)
        self.exit_json(**result)

    # ---- parameters as they may be shown
    def shown_params(self):
        """The parameters without secrets that Ansible cannot know of, such as single values in a dictionary."""
        return self.params

    def log(self, msg, log_args=None):
        if log_args:  # Ansible's record of the call in the system log
            shown = self.shown_params()
            for name in log_args:
                if shown[name] != self.params[name]:
                    log_args[name] = str(shown[name])
            msg = "Invoked with " + " ".join(f"{name}={value}" for name, value in log_args.items())
        super().log(msg, log_args=log_args)

    def exit_json(self, **kwargs):
        super().exit_json(**dict(kwargs, invocation={"module_args": self.shown_params()}))

    def fail_json(self, msg, **kwargs):
        super().fail_json(msg, **dict(kwargs, invocation={"module_args": self.shown_params()}))


class SparkflowsModule(MlopsModule):
    connection_spec = staticmethod(connection_spec)
    make_client = SparkflowsClient
