"""MLflow behind its proxy: who gets in, and what becomes of the published requests that make MLflow 1.30 read what it should not."""

import json
import re
import uuid
from urllib.parse import quote

import pytest
from conftest import secret

CA = "/etc/ssl/lab-ca.pem"
API = "/api/2.0/mlflow/"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
UP = "../" * 14
CONTROL = "http://127.0.0.1:4990"
LOOPBACK = "http://127.0.0.1:5000"

# Sends rows of requests as they are, with no tidying of paths, and keeps what the answers name for the requests after them
# in the row. One program for many rows: to start one on a lab host takes longer than to send a request.
CLIENT = r"""
import base64, http.client, json, ssl, sys, uuid
from urllib.parse import urlsplit

asked = json.loads(sys.argv[1])
url = urlsplit(asked["url"])


def filled(text, known):
    for name, value in known.items():
        text = text.replace("<%s>" % name, value)
    return text


def send(known, method, path, body, headers):
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=60,
                                                 context=ssl.create_default_context(cafile=asked["ca"]))
    else:
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    data = b"" if body is None else filled(body if isinstance(body, str) else json.dumps(body), known).encode()
    # As somebody else's client may send it, with no encoding and no Host but the row's own.
    connection._validate_path = lambda path: None
    connection.putrequest(method, filled(path, known), skip_host="Host" in headers)
    if asked["login"]:
        connection.putheader("Authorization", "Basic " + base64.b64encode(asked["login"].encode()).decode())
    for name, value in dict({"Content-Type": "application/json", "Content-Length": str(len(data))}, **headers).items():
        connection.putheader(name, value)
    connection.endheaders(data)
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except ValueError:
        found = {}
    if "experiment_id" in found:
        known["EXPERIMENT"] = found["experiment_id"]
    if "run" in found:
        known["RUN"] = found["run"]["info"]["run_id"]
        known["PLACE"] = found["run"]["info"]["artifact_uri"].partition(":/")[2]
    return [answer.status, text[:300], dict(answer.getheaders())]


rows = []
for row in asked["rows"]:
    known = {"NAME": "probe-" + uuid.uuid4().hex}
    rows.append([send(known, *request) for request in row])
print(json.dumps(rows))
"""


@pytest.fixture(name="url", scope="module")
def fixture_url(address):
    return f"https://{address}:5000"


def login(name):
    file = {"sparkflows": "mlflow_password", "reader": "mlflow_reader"}[name]
    return f"{name}:{secret(file)}"


def ask_rows(host, url, rows, user=None, credentials=None):
    """Answers [status, text, headers] to rows of requests [method, path, body, headers]."""
    rows = [[list(request) + [None, {}][len(request) - 2:] for request in row] for row in rows]
    asked = {"url": url, "ca": CA, "login": credentials or (login(user) if user else ""), "rows": rows}
    return json.loads(host.check_output("python3 -c %s %s", CLIENT, json.dumps(asked)))


def ask(host, url, *requests, **options):
    return ask_rows(host, url, [requests], **options)[0]


SEARCH = ("GET", API + "experiments/search?max_results=5")


def test_mlflow_itself_listens_on_loopback_only(mlflow):
    listening = mlflow.check_output("ss -Hltnp sport = :5000")
    assert {re.split(r"\s+", line)[3] for line in listening.splitlines() if "nginx" not in line} == {"127.0.0.1:5000"}


def test_login_is_needed_and_a_wrong_one_is_refused(sparkflows, url):
    nobody = ask(sparkflows, url, SEARCH, ("GET", "/"), ("GET", "/static-files/static/css/main.css"), ("GET", "/get-artifact?path=x&run_uuid=y"))
    assert [status for status, _text, _headers in nobody] == [401] * 4
    assert nobody[0][2]["WWW-Authenticate"].startswith("Basic")
    for credentials in ("sparkflows:wrong", "nobody:wrong", ":"):
        assert ask(sparkflows, url, SEARCH, credentials=credentials)[0][0] == 401
    status, text, _headers = ask(sparkflows, url, SEARCH, user="sparkflows")[0]
    assert status == 200 and "\"experiments\": [" in text


def test_health_needs_no_login_and_says_no_more(sparkflows, url):
    assert [answer[:2] for answer in ask(sparkflows, url, ("GET", "/health"))] == [[200, "OK"]]


def test_only_who_knows_the_authority_trusts_the_certificate(sparkflows, url):
    stranger = sparkflows.run("python3 -c %s %s", CLIENT, json.dumps(
        {"url": url, "ca": None, "login": "", "rows": [[["GET", "/health", None, {}]]]}))
    assert stranger.rc != 0 and "CERTIFICATE_VERIFY_FAILED" in stranger.stderr
    assert ask(sparkflows, url.replace("https", "http"), ("GET", "/health"))[0][0] == 400


def test_real_client_gets_through(sparkflows, mlflow, url):
    """MLflow's own client, as on a Spark host, with an artifact that is larger than what other requests may have."""
    del sparkflows
    program = ("import mlflow, os, tempfile\n"
               "with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:\n"
               "    path = os.path.join(folder, 'large file.bin')\n"
               "    with open(path, 'wb') as file:\n"
               "        file.write(os.urandom(1 << 20) * 64)\n"
               "    mlflow.log_artifact(path, 'some folder')\n"
               "    client = mlflow.tracking.MlflowClient()\n"
               "    print([file.path for file in client.list_artifacts(run.info.run_id, 'some folder')])\n"
               "    got = client.download_artifacts(run.info.run_id, 'some folder/large file.bin', folder)\n"
               "    print(open(got, 'rb').read() == open(path, 'rb').read())\n")
    name, password = login("sparkflows").split(":")
    # The lab's certificate authority has to be known to the host as it is on a Spark host.
    output = mlflow.check_output(
        f"env GIT_PYTHON_REFRESH=quiet MLFLOW_TRACKING_URI={url} MLFLOW_TRACKING_USERNAME={name} MLFLOW_TRACKING_PASSWORD={password} "
        f"MLFLOW_TRACKING_SERVER_CERT_PATH={CA} /opt/mlflow/current/bin/python -c %s", program)
    assert output.splitlines()[-2:] == ["['some folder/large file.bin']", "True"]


READS = [SEARCH, ("POST", API + "experiments/search", {"max_results": 5}), ("POST", API + "runs/search", {"experiment_ids": ["0"]}),
         ("POST", "/ajax-api/2.0/preview/mlflow/runs/search", {"experiment_ids": ["0"]}), ("GET", API + "registered-models/search"),
         ("GET", API + "model-versions/search"), ("GET", "/")]
WRITES = [("POST", API + "runs/create", {"experiment_id": "0"}), ("POST", API + "experiments/delete", {"experiment_id": "0"}),
          ("PUT", ARTIFACTS + "x/y.txt", {}), ("DELETE", ARTIFACTS + "x"), ("PATCH", API + "registered-models/update", {"name": "x"}),
          ("POST", API + "runs%2Fdelete", {"run_id": "x"}), ("POST", "/api/2.0//mlflow/runs/create", {"experiment_id": "0"}),
          ("POST", API + "runs/search/../create", {"experiment_id": "0"}), ("POST", API + "runs/create?x=/api/2.0/mlflow/runs/search", {}),
          ("DELETE", API + "registered-models/delete", {"name": "breast-cancer-risk"})]


def test_reader_may_read_and_not_write(sparkflows, url):
    assert {status for status, _text, _headers in ask(sparkflows, url, *READS, user="reader")} == {200}
    # One after the other, each known for what it is: a reader who tries is no guesser, until he is too eager.
    answers = ask(sparkflows, url, *WRITES, user="reader")
    assert {status for status, _text, _headers in answers} <= {400, 403, 429}, answers
    assert answers[0][0] == 403 and "may only read" in answers[0][1]
    assert ask(sparkflows, url, ("GET", API + "registered-models/get?name=breast-cancer-risk"), user="reader")[0][0] == 200


@pytest.mark.parametrize("typed", ["%23", "%2f", "%5C", "%3f", "%2e", "50%", "..", "../x", "a=..&b", "\\", "/..", "#", ";"])
def test_people_search_for_anything(sparkflows, url, typed):
    """On the Models page, which sends what was typed as a part of a filter, percent-encoded. A percent sign is there twice."""
    term = quote(f"name ilike '%{typed}%'", safe="()'")
    asked = [("GET", f"{API}registered-models/search?filter={term}"), ("GET", f"{API}registered-models/search?filter={quote(term, safe='')}"),
             ("GET", f"{API}registered-models/get?name={quote(typed, safe='')}")]
    answers = [answer[:2] for answer in ask(sparkflows, url, *asked, user="sparkflows")]
    # Whether MLflow makes something of it is MLflow's affair.
    assert answers[0][0] == 200 and not [text for _status, text in answers if "The proxy refuses" in text], answers


def searches(clause, number):
    """Requests with so many comparisons, or orders, in each search of MLflow and however it is asked."""
    many = " and ".join([clause] * number)
    runs, orders = {"experiment_ids": ["0"], "filter": many}, {"experiment_ids": ["0"], "order_by": ["name"] * number}
    return [*[("POST", f"/{path}/runs/search", body) for path in ("api/2.0/mlflow", "ajax-api/2.0/mlflow", "api/2.0/preview/mlflow")
              for body in (runs, orders, json.dumps(json.dumps(runs)))],
            ("POST", API + "experiments/search", {"filter": many}),
            *[("GET", f"/{api}/2.0/mlflow/{what}/search?filter={quote(many)}") for what in ("experiments", "registered-models", "model-versions")
              for api in ("api", "ajax-api")],
            *[("GET", API + what + "/search?" + "&".join(f"order_by%5B{place}%5D=name" for place in range(number)))
              for what in ("experiments", "registered-models")]]  # fmt: skip


def test_searches_that_keep_a_thread_busy(sparkflows, mlflow, url):
    """A filter of 8 kB kept one busy for 47 s."""
    for host, where, user in ((sparkflows, url, "reader"), (mlflow, LOOPBACK, None)):
        asked = searches("name = 'x'", 40) + [("POST", API + "runs/search", {"experiment_ids": ["0"], "filter": "=1" * 4000})]
        assert {(status, json.loads(text)["error_code"]) for status, text, _headers in ask(host, where, *asked, user=user)} == {
            (400, "INVALID_PARAMETER_VALUE")}
        found = ask(host, where, *searches("name = 'x'", 40), user=user)
        assert {"mlflow_server_search_terms" in text for _status, text, _headers in found} == {True}, found
    assert {answer[0] for answer in ask(sparkflows, url, ("POST", API + "runs/search", {
        "experiment_ids": ["0"], "filter": " and ".join(["metrics.m > 1"] * 10) + " and tags.a = '" + "a=1 " * 200 + "'"}), user="reader")} == {200}


def test_other_web_sites_cannot_use_a_browser_s_login(sparkflows, url):
    """Whether the browser tells how far the other site is, as newer ones do, or its name only."""
    def sent(how, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return (*how, {"Content-Type": "text/plain", **headers})

    create, search = ("POST", API + "experiments/create", {"name": "<NAME>"}), ("POST", API + "runs/search", {"experiment_ids": ["0"]})
    foreign = [sent(create, Sec_Fetch_Site="cross-site"), sent(create, Sec_Fetch_Site="same-site"),
               *[sent(how, Origin=origin) for how in (create, search, (*SEARCH, None)) for origin in (
                   "https://evil.example.com", "null", url.replace("https", "http"), url.replace("5000", "5001"), url + ".evil.example.com",
                   f"{url} {url}", "https://evil.example.com/" + url)]]
    own = [sent(search, Sec_Fetch_Site="same-origin"), sent(search, Origin=url, Sec_Fetch_Site="same-origin"),
           sent(search, Host="localhost:5000", Origin="https://localhost:5000"), sent(search, Origin=""),
           # From a link that somebody was sent.
           ("GET", "/", None, {"Sec-Fetch-Site": "cross-site"})]
    answers = ask(sparkflows, url, *foreign, *own, user="sparkflows")
    assert [answer[0] for answer in answers] == [403] * len(foreign) + [200] * len(own)
    assert "another web site" in answers[0][1]


def test_only_names_of_its_own_are_answered(sparkflows, url):
    """A browser that was told another site's name has this address (DNS rebinding) holds both for the same site."""
    own = [re.sub(".*//", "", url), "mlflow1", "MLFLOW1:5000", "mlflow1.", "localhost", "192.0.2.1:443", "[2001:db8::1]:5000"]
    foreign = ["evil.example.com", "evil.example.com:5000",
               "mlflow1.evil.example.com", "xmlflow1", "192.0.2.1.evil.example.com", "localhost.evil.example.com"]
    asked = [(*how, None, {"Host": name, "Origin": "https://" + name}) for name in foreign for how in (SEARCH, ("GET", "/health"))]
    answers = ask(sparkflows, url, *[(*SEARCH, None, {"Host": name}) for name in own], *asked, user="sparkflows")
    assert [answer[0] for answer in answers] == [200] * len(own) + [421] * len(asked)
    assert "mlflow_proxy_names" in answers[-1][1]


# Names that a client has not encoded, or that mean something to whoever stores them. MLflow would store "a#b.txt" as "a".
ODD_NAMES = ["a#b.txt", "a%23b.txt", "a?b.txt", "a%3Fb.txt", "a%253Fb.txt", "a;b.txt", "a%3bb.txt", "a%5cb.txt", "a%00.txt"]


def test_odd_names_of_artifacts_are_refused(sparkflows, mlflow, url):
    folder = "probe-" + uuid.uuid4().hex
    asked = [("PUT", f"{ARTIFACTS}{folder}/{name}", {}) for name in ODD_NAMES] + [
        ("GET", f"/get-artifact?path={name}&run_uuid=x") for name in ODD_NAMES if name[1] not in "#?"]
    for host, where, user in ((sparkflows, url, "sparkflows"), (mlflow, LOOPBACK, None)):
        found = ask(host, where, *asked[:len(ODD_NAMES)], ("GET", f"{ARTIFACTS.rstrip('/')}?path={folder}"), user=user)
        assert [answer[0] for answer in found[:-1]] == [400] * len(ODD_NAMES), (where, found)
        assert "files" not in found[-1][1] or found[-1][1] == "{}"
    assert {answer[0] for answer in ask(sparkflows, url, *asked[len(ODD_NAMES):], user="sparkflows")} == {400}


# ---- the published requests ------------------------------------------------------------------------------------------
def version(source, path, location=None, api=API):
    """Register a version with a source, then have its file read; where a run is wanted, make one in an experiment with a location first."""
    run = {"run_id": "<RUN>"} if location else {}
    before = [("POST", api + "experiments/create", {"name": "<NAME>", "artifact_location": location}),
              ("POST", api + "runs/create", {"experiment_id": "<EXPERIMENT>"})] if location else []
    return [*before, ("POST", api + "registered-models/create", {"name": "<NAME>"}),
            ("POST", api + "model-versions/create", {"name": "<NAME>", "source": source, **run}),
            ("GET", f"/model-versions/get-artifact?path={path}&name=<NAME>&version=1")]


def run_in(location, *requests):
    return [("POST", API + "experiments/create", {"name": "<NAME>", "artifact_location": location}),
            ("POST", API + "runs/create", {"experiment_id": "<EXPERIMENT>"}), *requests]


# name: (requests, whether MLflow 1.30.1 on its own gives the file)
PUBLISHED = {
    "CVE-2023-1177 file: as source": (version("file:///etc/", "passwd"), False),
    "CVE-2023-2356 .. in an mlflow-artifacts: source": (version("mlflow-artifacts:/" + UP, "etc/passwd"), True),
    "CVE-2023-2356 .. in an http: source": (version("http://x/api/2.0/mlflow-artifacts/artifacts/" + UP, "etc/passwd"), True),
    "CVE-2023-2780 host in a file: source": (version("file://localhost/etc/", "passwd"), False),
    "CVE-2023-2780 backslashes": (version("file:///..\\..\\..\\etc\\", "passwd"), False),
    "CVE-2023-6909 ? in the location": (version("file:///etc/", "passwd", "http:///?/" + UP + "etc/"), True),
    "CVE-2023-6977 //proc/self/root": (version("//proc/self/root", "etc/passwd"), True),
    "CVE-2024-1483 # in the location, ajax-api": (version("file:///etc/", "passwd", "http:///#/" + UP + "etc/", "/ajax-api/2.0/mlflow/"), True),
    "CVE-2024-1483 # in the location, preview": (version("file:///etc/", "passwd", "http:///#/" + UP + "etc/", "/api/2.0/preview/mlflow/"), True),
    "CVE-2024-3848 # in the location, get-artifact": (
        run_in("http:///api/2.0/mlflow-artifacts/artifacts/" + UP + "etc#/" + UP, ("GET", "/get-artifact?path=../../passwd&run_uuid=<RUN>")), False),
    "issue 7166 .. in get-artifact": (
        [("POST", API + "runs/create", {"experiment_id": "0"}), ("GET", f"/get-artifact?path={UP}etc/passwd&run_uuid=<RUN>")], False),
    "issue 7166 .. percent-encoded": (
        [("POST", API + "runs/create", {"experiment_id": "0"}),
         ("GET", f"/get-artifact?path={UP.replace('../', '%2e%2e%2f')}etc%2fpasswd&run_uuid=<RUN>")], False),
    "download ..": ([("GET", ARTIFACTS + UP + "etc/passwd")], False),
    "download .. percent-encoded": ([("GET", ARTIFACTS + "%2e%2e/" * 9 + "etc/passwd")], False),
    "download .. and slashes percent-encoded": ([("GET", ARTIFACTS + "..%2f" * 9 + "etc%2Fpasswd")], False),
    "download .. percent-encoded twice": ([("GET", ARTIFACTS + "%252e%252e%252f" * 9 + "etc%252fpasswd")], False),
    "download with a backslash": ([("GET", ARTIFACTS + "..%5c" * 9 + "etc%5cpasswd")], False),
    "list ..": ([("GET", ARTIFACTS.rstrip("/") + "?path=" + UP + "etc")], False),
    "list a run with .. in its location": (
        run_in("mlflow-artifacts:/" + UP + "var/tmp/control/", ("GET", API + "artifacts/list?run_id=<RUN>")), False),
    "upload ..": ([("PUT", ARTIFACTS + "..%2f..%2f..%2fvar%2ftmp%2fcontrol%2fup.txt", {})], False),
}
# What MLflow must not even store: it would be read with the server's own credentials, or sent to somebody else's host.
FOREIGN = ["s3://another-bucket/", "ftp://127.0.0.1/", "sftp://127.0.0.1/etc", "hdfs://127.0.0.1/", "dbfs:/etc/", "https://127.0.0.1:8086/",
           "mlflow-artifacts://evil.example.com/x", "/etc", "FILE:///etc", "file:/etc", "mlflow-artifacts:/x/%2e%2e/y", "runs:/../x",
           "mlflow-artifacts:/x;/y"]
PASSWD = "root:x:0:0"

FROM_ELSEWHERE = {"Content-Type": "text/plain", "Origin": "https://evil.example.com"}
MODEL = ("POST", API + "registered-models/create", {"name": "<NAME>"})
# What is taken or given: name: (requests, status of the last from MLflow 1.30.1 on its own, and here with a login that may write).
TAKEN = {
    "CVE-2023-43472 a web site makes an experiment": (
        [("POST", API + "experiments/create", {"name": "<NAME>", "artifact_location": "s3://evil/x"}, FROM_ELSEWHERE)], 200, 403),
    "CVE-2023-43472 a web site renames an experiment": (
        [("POST", API + "experiments/create", {"name": "<NAME>"}),
         ("POST", API + "experiments/update", {"experiment_id": "<EXPERIMENT>", "new_name": "<NAME>-2"}, FROM_ELSEWHERE)], 200, 403),
    "CVE-2024-3099 a name that is decoded": ([MODEL, ("POST", API + "registered-models/create", {"name": "%70<NAME>"})], 200, 400),
    "CVE-2024-3099 a model is renamed": ([MODEL, ("POST", API + "registered-models/rename", {"name": "<NAME>", "new_name": "<NAME>%41"})], 200, 400),
    "CVE-2024-6838 a long name": ([("POST", API + "experiments/create", {"name": "<NAME>" + "1" * 9000})], 200, 400),
    "CVE-2024-6838 a long new name": (
        [("POST", API + "experiments/create", {"name": "<NAME>"}),
         ("POST", API + "experiments/update", {"experiment_id": "<EXPERIMENT>", "new_name": "<NAME>" + "1" * 9000})], 200, 400),
    "CVE-2024-6838 a long location": (
        [("POST", API + "experiments/create", {"name": "<NAME>", "artifact_location": "mlflow-artifacts:/" + "1" * 9000})], 200, 400),
    "CVE-2024-8859 dbfs: as source": ([MODEL, ("POST", API + "model-versions/create", {"name": "<NAME>", "source": "dbfs:/../etc"})], 200, 400),
    "CVE-2025-11201 .. in a source models:": (
        [MODEL, ("POST", API + "model-versions/create", {"name": "<NAME>", "source": "models:/../../etc"})], 200, 400),
    "CVE-2025-11201 .. percent-encoded in a source": (
        [MODEL, ("POST", API + "model-versions/create", {"name": "<NAME>", "source": "mlflow-artifacts:/..%2f..%2fetc"})], 200, 400),
    "CVE-2025-14279 DNS rebinding": (
        [(*SEARCH, None, {"Host": "evil.example.com:5000", "Origin": "https://evil.example.com:5000", "Sec-Fetch-Site": "same-origin"})], 200, 421),
    "CVE-2026-2033 .. encoded twice in an upload": ([("PUT", ARTIFACTS + "%252e%252e/%252e%252e/x", {})], 200, 400),
    "CVE-2026-2614 file: as source of a prompt": (
        [MODEL, ("POST", API + "model-versions/create", {
            "name": "<NAME>", "source": "file:///etc", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]})], 400, 400),
    "CVE-2026-33865 a program in MLmodel": (
        [("POST", API + "runs/create", {"experiment_id": "0"}),
         ("PUT", ARTIFACTS + "<PLACE>/m/MLmodel", "flavors: !!js/function 'function () {}'"),
         ("GET", "/get-artifact?path=m/MLmodel&run_uuid=<RUN>")], 200, 400),
}
# Later parts of MLflow that have holes of their own, which 1.30.1 does not have.
LATER = {
    "CVE-2023-6014, CVE-2025-1473 users": ("POST", "/api/2.0/mlflow/users/create", {}),
    "CVE-2025-0453 GraphQL": ("POST", "/graphql", {}),
    "CVE-2025-52967 gateway": ("GET", "/ajax-api/2.0/mlflow/gateway-proxy?gateway_path=x"),
    "CVE-2026-2652 jobs": ("POST", "/ajax-api/3.0/jobs/", {}),
    "CVE-2026-8147 traces": ("GET", "/api/2.0/mlflow/traces?experiment_ids=0"),
    "CVE-2026-64849 webhooks": ("POST", "/api/2.0/mlflow/webhooks/1/test", {}),
}


@pytest.fixture(name="control", scope="module")
def fixture_control(mlflow):
    """MLflow as it comes, with neither proxy nor guard nor sandbox."""
    folder = "/var/tmp/control"
    mlflow.run_expect([0], f"install -d -o mlflow {folder} {folder}/artifacts")
    mlflow.run_expect([0], f"systemd-run --unit=control --uid=mlflow --working-directory={folder} "
                           "--setenv=PATH=/opt/mlflow/current/bin:/usr/bin:/bin /opt/mlflow/current/bin/mlflow server --port 4990 --workers 1 "
                           f"--backend-store-uri sqlite:///{folder}/mlflow.db --serve-artifacts --artifacts-destination {folder}/artifacts")
    mlflow.run_expect([0], "timeout 120 sh -c 'until ss -Hltn sport = :4990 | grep -q .; do sleep 0.5; done'")
    yield CONTROL
    mlflow.run(f"systemctl stop control; rm -r {folder}")


@pytest.fixture(name="published", scope="module")
def fixture_published(sparkflows, url):
    """What the published requests get through the proxy, with a login that may write."""
    return dict(zip(PUBLISHED, ask_rows(sparkflows, url, [requests for requests, _falls in PUBLISHED.values()], user="sparkflows")))


@pytest.fixture(name="unprotected", scope="module")
def fixture_unprotected(mlflow, control):
    return dict(zip(PUBLISHED, ask_rows(mlflow, control, [requests for requests, _falls in PUBLISHED.values()])))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_request_is_refused(published, name):
    """By the proxy or by the guard."""
    answers = published[name]
    assert not [answer for answer in answers if PASSWD in answer[1] or "control" in answer[1]]
    assert answers[-1][0] in (400, 404)
    assert 400 in [answer[0] for answer in answers]


@pytest.mark.parametrize("name", PUBLISHED)
def test_mlflow_on_its_own_falls_for_what_it_falls_for(unprotected, name):
    """Else the test above would prove nothing."""
    status, text, _headers = unprotected[name][-1]
    assert (status == 200 and PASSWD in text) == PUBLISHED[name][1]


def test_foreign_location_is_not_stored(sparkflows, url):
    rows = [[("POST", API + "experiments/create", {"name": "<NAME>", "artifact_location": location}),
             # The other spelling that the protocol takes.
             ("POST", API + "experiments/create", {"name": "<NAME>-2", "artifactLocation": location}),
             ("POST", API + "registered-models/create", {"name": "<NAME>"}),
             ("POST", API + "model-versions/create", {"name": "<NAME>", "source": location})] for location in FOREIGN]
    answers = ask_rows(sparkflows, url, rows, user="sparkflows")
    assert {location: [answer[0] for answer in row] for location, row in zip(FOREIGN, answers)} == dict.fromkeys(FOREIGN, [400, 400, 200, 400])


def test_published_request_is_not_taken(sparkflows, mlflow, url, control):
    rows = [requests for requests, _alone, _here in TAKEN.values()]
    alone = dict(zip(TAKEN, ask_rows(mlflow, control, rows)))
    assert {name: answers[-1][0] for name, answers in alone.items()} == {name: status for name, (_requests, status, _here) in TAKEN.items()}
    here = dict(zip(TAKEN, ask_rows(sparkflows, url, rows, user="sparkflows")))
    assert {name: answers[-1][0] for name, answers in here.items()} == {name: status for name, (_requests, _alone, status) in TAKEN.items()}


def test_parts_with_later_holes_are_not_there(mlflow, control):
    assert {answer[0] for answer in ask(mlflow, control, *LATER.values())} == {404}


def test_who_may_read_deletes_no_artifacts(sparkflows, mlflow, url, control):
    """CVE-2024-4263, and CVE-2025-11200: MLflow on its own asks nobody who he is."""
    folder = "probe-" + uuid.uuid4().hex
    put, delete = ("PUT", f"{ARTIFACTS}{folder}/x.txt", {}), ("DELETE", ARTIFACTS + folder)
    assert [answer[0] for answer in ask(mlflow, control, put, delete)] == [200, 200]
    assert ask(sparkflows, url, put, user="sparkflows")[0][0] == 200
    assert [ask(sparkflows, url, delete, user=user)[0][0] for user in (None, "reader", "sparkflows")] == [401, 403, 200]


def test_delete_that_is_decoded_twice(mlflow, sparkflows, url, control):
    """CVE-2024-1560."""
    delete = ("DELETE", ARTIFACTS + "a%252f..%252f..%252fvictim")
    for folder, host, where, user in (("/var/lib/mlflow/victim", sparkflows, url, "sparkflows"), ("/var/tmp/control/victim", mlflow, control, None)):
        mlflow.run_expect([0], f"install -d -o mlflow {folder}")
        answers = ask(host, where, ("PUT", ARTIFACTS + "a/x.txt", {}), delete, user=user)
        assert (answers[1][0] == 400) == mlflow.file(folder).exists == (user is not None)
    mlflow.run_expect([0], "rmdir /var/lib/mlflow/victim")


def test_what_was_stored_before_is_refused_when_it_is_read(mlflow, sparkflows, url):
    """The database of an MLflow that had no guard may hold anything."""
    name = "probe-" + uuid.uuid4().hex
    assert [answer[0] for answer in ask(
        sparkflows, url, ("POST", API + "registered-models/create", {"name": name}),
        ("POST", API + "model-versions/create", {"name": name, "source": "mlflow-artifacts:/x"}), user="sparkflows")] == [200, 200]
    for source in ("//proc/self/root", "mlflow-artifacts:/" + UP, "/var/lib/mlflow/db"):
        mlflow.check_output(
            "python3 -c %s %s %s", "import sqlite3, sys\n"
            "database = sqlite3.connect('/var/lib/mlflow/db/mlflow.db')\n"
            "with database:\n"
            "    assert database.execute('update model_versions set source = ? where name = ?', sys.argv[1:]).rowcount == 1\n", source, name)
        answers = ask(sparkflows, url, *[("GET", f"/model-versions/get-artifact?path={path}&name={name}&version=1")
                                         for path in ("etc/passwd", "mlflow.db", "var/lib/mlflow/db/mlflow.db")], user="sparkflows")
        assert {status for status, _text, _headers in answers} == {400}


def test_sandbox_hides_what_mlflow_does_not_need(mlflow):
    """Should a request get past proxy and guard: the process sees neither settings nor accounts, and not its own environment."""
    root = f"/proc/{mlflow.service('mlflow').systemd_properties['MainPID']}/root"

    def seen(path):
        return mlflow.run(f"runuser -u mlflow -- test -r {root}{path}").rc == 0

    hidden = ["/etc/passwd", "/etc/mlflow", "/etc/nginx", "/etc/fire-mlops", "/proc/self", "/proc/1", "/var/log", "/var/lib/dpkg", "/root", "/srv"]
    assert [path for path in hidden
            if seen(path) and mlflow.run(f"runuser -u mlflow -- ls -A {root}{path}").stdout.strip()] == []
    # Else the line above would prove nothing.
    assert seen("/var/lib/mlflow/artifacts") and seen("/etc/ssl/lab-ca.pem") and seen("/opt/mlflow/current/bin/python")
    assert mlflow.run("runuser -u mlflow -- test -r /etc/passwd").rc == 0


# ---- last: from here on the Sparkflows host is one that guesses ------------------------------------------------------
def test_who_guesses_is_slowed_down_and_who_works_is_not(sparkflows, mlflow, url):
    good = [ask(sparkflows, url, SEARCH, user="sparkflows")[0][0]]
    guesses = []
    for number in range(3):
        guesses += ask(sparkflows, url, *[SEARCH] * 12, credentials=f"sparkflows:guess-{number}")
        good += [answer[0] for answer in ask(sparkflows, url, *[SEARCH] * 20, user="sparkflows")]
    found = [status for status, _text, _headers in guesses]
    assert set(found) == {401, 429} and found[-5:].count(429) >= 4, found
    assert [headers for status, _text, headers in guesses if status == 429][0]["Retry-After"]
    # Normal work from the very same address, at the same time.
    assert set(good) == {200} and len(good) == 61
    # The limit is one for guesses and not for their answers: the right password of somebody who is not known yet is not tried either.
    mlflow.run_expect([0], "sh -c 'rm -rf /run/nginx-mlflow-logins/*; systemctl restart nginx'")
    assert 429 in [answer[0] for answer in ask(sparkflows, url, *[SEARCH] * 20, credentials="sparkflows:another-guess")]
    assert ask(sparkflows, url, SEARCH, user="sparkflows")[0][0] == 429
    # From another address it is.
    assert ask(mlflow, url, SEARCH, user="sparkflows")[0][0] == 200


def test_proxy_comes_back_after_a_kill(mlflow, sparkflows, url):
    before = mlflow.service("nginx").systemd_properties["MainPID"]
    mlflow.run_expect([0], f"kill -9 {before}")
    mlflow.run_expect([0], "timeout 30 sh -c 'until systemctl is-active -q nginx && "
                           f"[ $(systemctl show -p MainPID --value nginx) != {before} ]; do sleep 0.2; done'")
    assert ask(sparkflows, url, ("GET", "/health"))[0][0] == 200


def test_no_password_lies_about(mlflow):
    for name in ("sparkflows", "reader"):
        password = login(name).split(":")[1]
        found = mlflow.run(f"grep -rlF {password} /etc/nginx /etc/systemd /var/log /run/systemd").stdout
        assert found == ""
    secrets = {"/etc/nginx/mlops/mlflow.key": 0o600, "/etc/nginx/mlops/mlflow.htpasswd": 0o640, "/run/nginx-mlflow-logins": 0o700}
    assert {path: mlflow.file(path).mode for path in secrets} == secrets
