"""Which end point answers which path."""

import re
import urllib.parse

from .administration import Administration
from .answers import LOGIN_PAGE
from .models import Models
from .refusals import LoginPage, Redirect, Refused
from .workflows import Workflows


class Handler(Administration, Workflows, Models):
    """Answers a request: every end point of the double."""

    def handle_request(self, body):
        self.new_cookies = []
        self.path_only, _question, query = self.path.partition("?")
        self.query = urllib.parse.parse_qs(query)
        self.body = body
        self.app.record(self.command, self.path, self.headers, self.body)
        if self.injected_fault():
            return
        try:
            route, arguments = find_route(self.path_only)
            if route is None or self.command not in route:
                self.user()  # a stranger learns nothing about what exists
                known = route is not None
                raise Refused(
                    405 if known else 404,
                    f"Request method '{self.command}' not supported" if known else "No message available",
                )
            route[self.command](self, *arguments)
        except Refused as error:
            body = error.body
            if isinstance(body, str):
                body = self.spring_error(error.status, body)
            self.answer(error.status, body)
        except Redirect as error:
            self.redirect(str(error))
        except LoginPage:
            self.answer(200, LOGIN_PAGE % {"csrf": ""})


ROUTES = {
    "/": {"GET": Handler.get_root, "HEAD": Handler.get_root},
    "/login": {"GET": Handler.get_login, "POST": Handler.post_login},
    "/logout": {"GET": Handler.logout, "POST": Handler.logout},
    "/healthcheck": {"GET": Handler.get_health},
    "/actuator/health": {"GET": Handler.get_health},
    "/oauth/token": {"POST": Handler.post_oauth_token},
    "/api/v1/tokens": {"POST": Handler.post_tokens},
    "/api/v1/app/release-info": {"GET": Handler.get_release_info},
    "/api/v1/main/about": {"GET": Handler.get_about},
    "/api/v1/configurations": {"GET": Handler.get_configurations, "POST": Handler.post_configurations},
    "/api/v1/configurations/infer": {"GET": Handler.get_infer},
    "/api/v1/configurations/kafka": {"GET": Handler.get_subset},
    "/api/v1/configurations/uiSettings": {"GET": Handler.get_subset},
    "/api/v1/configs/app": {"GET": Handler.get_subset},
    "/api/v1/workflow/execute": {"POST": Handler.post_execute},
    "/api/v1/create/workflowexecution/(\\d+)": {"POST": Handler.post_create_execution},
    "/api/v1/workflows/id/(\\d+)": {"GET": Handler.get_workflow},
    "/api/v1/workflow-executions/(\\d+)/status": {"GET": Handler.get_status_text},
    "/api/v1/update-status-workflow-execution/(\\d+)": {"GET": Handler.get_status_json},
    "/api/v1/workflowExecution/(\\d+)": {"GET": Handler.get_execution},
    "/api/v1/last/workflow-execution/(\\d+)": {"GET": Handler.get_last_execution},
    "/api/v1/execution-results/workflow-executions/(\\d+)/resultType/(\\d+)": {"GET": Handler.get_typed_results},
    "/viewExecutionResult/(\\d+)/0": {"GET": Handler.get_results},
    "/api/v1/workflow-execution/(\\d+)/stop": {"POST": Handler.post_stop},
    "/api/v1/workflow-execution/(\\d+)/kill": {"POST": Handler.post_kill},
    "/api/fireLogs": {"GET": Handler.get_logs},
    "/api/fireServerLogs": {"GET": Handler.get_logs},
    "/api/v1/mlmodel/outputModel": {"GET": Handler.get_models},
    "/api/v1/mlmodel/OutputModels": {"GET": Handler.get_models},
    "/api/v1/mlmodel/OutputModelsById/(\\d+)": {"GET": Handler.get_model},
    "/api/v1/mlmodel/outputModelByModelUuid/([^/]+)": {"GET": Handler.get_model_by_uuid},
    "/api/v1/mlmodel/outputModel/(\\d+)/download/(\\w+)": {"GET": Handler.get_model_download},
}
ROUTES = [(re.compile(path), methods) for path, methods in ROUTES.items()]


def find_route(path):
    """({method: end point}, [arguments]) of a path; (None, []) where there is nothing."""
    for pattern, methods in ROUTES:
        match = pattern.fullmatch(path)
        if match:
            return methods, [urllib.parse.unquote(group) for group in match.groups()]
    return None, []
