"""Every switch of the double."""

import dataclasses
import re

PERMISSIONS = [
    "configurations.manage",
    "enable.tokenGeneration",
    "connections.manage",
    "diagnostics.manage",
    "workflows.execute",
]


@dataclasses.dataclass
class Settings:
    """Every switch. A configuration file is a JSON object with some of these names; tests set attributes."""

    # Where it listens: {"address", "port", "cert", "key"}; with cert it speaks https. Port 0 = any free port.
    listen: list = dataclasses.field(default_factory=lambda: [{"address": "127.0.0.1", "port": 0}])
    release: str = "3.3.41"
    # {name: {"password", "permissions"}}; the vendor's default accounts.
    users: dict = dataclasses.field(
        default_factory=lambda: {
            "admin": {"password": "admin", "permissions": list(PERMISSIONS)},
            "test": {"password": "test", "permissions": ["workflows.execute"]},
        }
    )
    token_secret: str = ""  # signs access tokens; empty = a random one per process
    cors_enabled: bool = True  # fire.cors.enable
    csrf_enabled: bool = False  # fire.security.csrf.enable
    csrf_cookie: bool = True  # offers the CSRF token as the cookie XSRF-TOKEN too, not only in the pages
    oauth_client: str = "sparkflows"
    oauth_secret: str = "secret"
    oauth_token_seconds: float = 28800
    session_seconds: float = 1800
    one_login_per_user: object = None  # a new OAuth2 login ends the former one; None = by release (3.3.11 and later)
    token_description_required: object = None  # assumed, so it can be chosen; None = by release (3.3.11 and later)

    # Configuration
    shape: str = "wrapped"  # of GET /configurations: wrapped | flat | flat_titled | grouped | grouped_list
    mask_secrets: bool = True  # in answers
    mask: object = "********"  # what stands for a set secret; may be "" or null
    unknown_keys: str = "refuse"  # refuse | ignore | create
    names: dict = dataclasses.field(default_factory=dict)  # meaning (see MEANINGS in properties.py) -> key name, null = not there
    extra_properties: list = dataclasses.field(default_factory=list)  # more rows for the table, as objects
    remove_properties: list = dataclasses.field(default_factory=list)  # names that this release does not have
    state_file: str = ""  # the "database"; empty = in memory only
    properties_file: str = ""  # conf/configuration.properties, read at start

    # Workflows: {id: {...}}, see WORKFLOW in workflows.py for what each may have.
    workflows: dict = dataclasses.field(default_factory=dict)
    workflow_log_dir: str = ""  # where each execution has its log; empty = /tmp/fire/workflowlogs
    status_calls: str = "both"  # both | text | json: which of the two calls for the status this release has
    result_calls: str = "both"  # both | view | typed: which of the two calls for results

    # The model repository: a list of objects, see MODEL in models.py for what each may have.
    models: list = dataclasses.field(default_factory=list)
    model_shape: str = "list"  # of the answers about models: list | page (an object with the list in it)
    model_file_types: list = dataclasses.field(default_factory=lambda: ["zip"])
    pack_time: object = None  # time stamp in the archives in seconds; None = now, so that each download has another checksum
    truncate_download: bool = False  # the connection breaks off half-way through a model

    # Faults. "First" counts requests below fault_path since the start or since the test set it.
    fault_path: str = "/"  # the counted and the permanent faults touch only paths that start so
    fail_first: int = 0  # answer fail_status to that many requests
    fail_status: int = 503
    reset_first: int = 0  # reset the connection instead of an answer, that many times
    reset_after_save: bool = False  # a save is done, but its answer never arrives
    delay_seconds: float = 0  # wait before each answer
    html_instead_of_json: bool = False  # the login page with status 200
    redirect_api: bool = False  # 302 to /login whatever the credentials
    truncate_json: bool = False  # half of the body, with a matching Content-Length
    tokens_expired: bool = False  # every token and session is too old
    read_only: bool = False  # saves are refused
    drop_saves: bool = False  # saves are answered as done, and forgotten
    ready_after_seconds: float = 0  # 503 until then
    unauthenticated: str = "redirect"  # redirect | html | 401: what a call without credentials gets

    CHOICES = {
        "shape": ("wrapped", "flat", "flat_titled", "grouped", "grouped_list"),
        "unknown_keys": ("refuse", "ignore", "create"),
        "unauthenticated": ("redirect", "html", "401"),
        "status_calls": ("both", "text", "json"),
        "result_calls": ("both", "view", "typed"),
        "model_shape": ("list", "page"),
    }

    @classmethod
    def from_dict(cls, values):
        """Of {name: value}; ValueError for a name that is no switch, or a value that is none of its choices."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError("unknown switch: {}; there are: {}".format(", ".join(unknown), ", ".join(sorted(known))))
        for name, choices in cls.CHOICES.items():
            if name in values and values[name] not in choices:
                raise ValueError("{} is {!r}; it can be: {}".format(name, values[name], ", ".join(choices)))
        return cls(**values)

    def since_3_3_11(self):
        return [int(part) for part in re.findall(r"\d+", self.release)[:3]] >= [3, 3, 11]
