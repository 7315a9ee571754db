"""The server's end points about itself: health, release, Administration > Configuration."""

from .logins import Logins
from .refusals import Refused


class Administration(Logins):
    """The end points of the administrator, and those that say what the server is."""

    def get_health(self):
        self.answer(200, {"status": "UP"})

    def get_release_info(self):
        self.user()
        self.answer(200, {"releaseVersion": self.settings.release, "buildNumber": "1", "sparkVersion": "3.5.2"})

    def get_about(self):
        self.user()
        self.answer(200, {"name": "Fire Insights", "version": self.settings.release, "sparkVersion": "3.5.2"})

    def get_configurations(self):
        self.need("configurations.manage")
        self.answer(200, self.app.store.listing())

    def post_configurations(self):
        self.need("configurations.manage")
        if self.settings.read_only:
            raise Refused(403, "The configuration is read-only")
        saved = self.app.store.update(self.json_body())
        if self.settings.reset_after_save:
            self.reset()
        else:
            self.answer(200, saved)

    def get_infer(self):
        self.need("configurations.manage")
        store = self.app.store
        with store.lock:
            self.answer(
                200,
                [
                    store.wrapped(store.rows[name])
                    for name in ("app.runOnCluster", "app.sparkSubmitJar", "app.postMessageURL")
                    if name in store.rows
                ],
            )

    def get_subset(self):
        self.user()
        group = {
            "/api/v1/configurations/kafka": "Kafka",
            "/api/v1/configurations/uiSettings": "UI",
            "/api/v1/configs/app": "App",
        }[self.path_only]
        store = self.app.store
        with store.lock:
            self.answer(200, [store.flat(row) for row in store.rows.values() if row["group"] == group])
