"""The model repository."""

import io
import os
import time
import urllib.parse
import zipfile

from .logins import Logins
from .refusals import Refused

MODEL = {
    "id": 0,
    "name": "",
    "uuid": "",
    "analysisFlowId": 1,
    "projectId": 1,
    "createdTime": 0,
    # What is in it: a file that is sent as it is, a directory, or {name: text}; the latter two are packed.
    "archive": "",
    "directory": "",
    "files": {},
}


def packed(model, pack_time):
    """The zip archive of a model."""
    if model["archive"]:
        with open(model["archive"], "rb") as stream:
            return stream.read()
    files = {name: text.encode() for name, text in model["files"].items()}
    for folder, _folders, names in os.walk(model["directory"] or os.devnull):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                files[os.path.relpath(path, model["directory"])] = stream.read()
    buffer = io.BytesIO()
    stamp = time.gmtime(time.time() if pack_time is None else pack_time)[:6]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, stamp), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


class Models(Logins):
    """The end points about models."""

    def model(self, **wanted):
        self.user()
        for model in self.app.models():
            if all(str(model[name]) == value for name, value in wanted.items()):
                return model
        raise Refused(404, f"Model {' '.join(wanted.values())} does not exist")

    def shown_model(self, model):
        return {name: value for name, value in model.items() if name not in ("archive", "directory", "files")}

    def get_models(self):
        self.user()
        shown = [self.shown_model(model) for model in self.app.models()]
        self.answer(200, {"content": shown, "totalElements": len(shown)} if self.settings.model_shape == "page" else shown)

    def get_model(self, number):
        shown = self.shown_model(self.model(id=number))
        self.answer(200, shown if self.settings.model_shape == "page" else [shown])

    def get_model_by_uuid(self, number):
        self.answer(200, self.shown_model(self.model(uuid=number)))

    def get_model_download(self, number, file_type):
        model = self.model(id=number)
        if file_type not in self.settings.model_file_types:
            raise Refused(400, f"File type {file_type} is not supported")
        # A framework that is asked for JSON alone cannot answer with an archive.
        if "*/*" not in self.headers.get("Accept", "*/*") and "octet-stream" not in self.headers["Accept"]:
            raise Refused(406, "Could not find acceptable representation")
        name = f"{model['name'] or model['id']}.{file_type}"
        disposition = [("Content-Disposition", f"attachment; filename*=UTF-8''{urllib.parse.quote(name)}")]
        self.answer(200, packed(model, self.settings.pack_time), disposition)
