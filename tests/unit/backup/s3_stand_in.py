"""A bucket that boto3 talks to: objects with MD5 as their ETag, also those that come in parts. Signatures are checked by a real store, in the lab."""

import hashlib
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments):
        pass

    def asked(self):
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(parts.path).partition("/registry")[2].lstrip("/"), query

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, data=b"", status=200, etag=""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if etag:
            self.send_header("ETag", f'"{etag}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self):
        key, query = self.asked()
        objects, etags = self.server.objects, self.server.etags
        if key:
            return self.answer(objects[key], etag=etags[key]) if key in objects else self.answer(status=404)
        found = "".join(f"<Contents><Key>{escape(name)}</Key><Size>{len(data)}</Size><ETag>\"{etags[name]}\"</ETag></Contents>"
                        for name, data in sorted(objects.items()) if name.startswith(query.get("prefix", "")))  # fmt: skip
        return self.answer(f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode())

    do_HEAD = do_GET

    def put(self, key, data, etag):
        self.server.puts.append(key)
        data = self.server.spoil(key, data)
        self.server.objects[key], self.server.etags[key] = data, self.server.tag(etag)

    def do_PUT(self):
        (key, query), data = self.asked(), self.body()
        etag = hashlib.md5(data).hexdigest()
        if "partNumber" in query:
            self.server.parts[int(query["partNumber"])] = data
        else:
            self.put(key, data, etag)
        self.answer(etag=etag)

    def do_POST(self):
        (key, query), _data = self.asked(), self.body()
        if "uploads" in query:
            self.server.parts.clear()
            self.answer(b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
            return
        parts = [data for _number, data in sorted(self.server.parts.items())]
        etag = hashlib.md5(b"".join(hashlib.md5(data).digest() for data in parts)).hexdigest() + f"-{len(parts)}"
        self.put(key, b"".join(parts), etag)
        self.answer(f"<CompleteMultipartUploadResult><ETag>\"{etag}\"</ETag></CompleteMultipartUploadResult>".encode())

    def do_DELETE(self):
        key, _query = self.asked()
        self.server.objects.pop(key, None)
        self.answer(status=204)


class Store(ThreadingHTTPServer):
    """objects: by key. spoil, tag: what becomes of content and ETag on their way."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects, self.etags, self.parts, self.puts = {}, {}, {}, []
        self.spoil, self.tag = (lambda key, data: data), (lambda etag: etag)

    @property
    def environment(self):
        return {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
                "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{self.server_port}"}  # fmt: skip

    def add(self, key, data):
        self.objects[key], self.etags[key] = data, hashlib.md5(data).hexdigest()

    def below(self, prefix):
        return {re.sub(f"^{prefix}/", "", key): data for key, data in self.objects.items() if key.startswith(prefix + "/")}


@contextmanager
def store():
    with Store() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
