"""What uvicorn serves of MLflow 2 and newer: the model's own application, with what model_workers.py has for gunicorn's workers.

`mlflow models serve` of these leaves nothing of its own to be loaded beside the model.
"""
import asyncio
import logging
import os
import threading
from types import SimpleNamespace

# It lies beside this file.
import model_workers


class Narrow:
    """An ASGI application before the model's."""

    def __init__(self, application, most):
        self.application, self.most = application, most

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.application(scope, receive, send)
            return
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] != "http.request":  # whoever asked has gone
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        kind = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
        # In a thread, so that others are answered meanwhile.
        refusal = await asyncio.get_running_loop().run_in_executor(None, model_workers.refusal, kind, bytes(body), self.most)
        if refusal:
            await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"application/json")]})
            await send({"type": "http.response.body", "body": refusal})
            return
        read = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def again():
            return read.pop() if read else await receive()

        await self.application(scope, again, send)


def make():
    from mlflow.pyfunc import scoring_server

    model_workers.give_sparkling_water(os.environ)
    application = scoring_server.init(scoring_server.load_model_with_mlflow_config(os.environ["SERVED_MODEL_DIR"]))
    worker = SimpleNamespace(log=logging.getLogger("uvicorn.error"))
    threading.Thread(target=model_workers.watch, args=(worker, model_workers.java_children()), daemon=True).start()
    return Narrow(application, model_workers.most_columns())
