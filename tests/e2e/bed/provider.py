"""The fake provider of crates/testkit, as a process."""
import httpx

from bed.gateway import target_folder
from bed.process import Process, eventually


class Provider:
    """What it got: `requests`; which answers were cut short by the reader: `disconnects`."""

    def __init__(self, folder):
        self.process = Process([target_folder() / "fake-provider"], folder / "provider.log")
        self.url = self.process.wait_for(r"ready (http://\S+)").group(1)
        self.base_url = self.url + "/v1"
        self.http = httpx.Client(base_url=self.url)

    def requests(self):
        return self.http.get("/__requests").json()

    def clear(self):
        self.http.delete("/__requests")

    def disconnects(self):
        return self.http.get("/__disconnects").json()

    def wait_for_request(self):
        """Until a request is there; returns the newest."""
        assert eventually(self.requests), "no request reached the provider"
        return self.requests()[-1]

    def wait_for_disconnect(self):
        """When the reader of an answer went away, Unix time in milliseconds."""
        assert eventually(self.disconnects), "the provider's answer was not cut short"
        return self.disconnects()[-1]["at_ms"]

    def stop(self):
        self.http.close()
        self.process.stop()
