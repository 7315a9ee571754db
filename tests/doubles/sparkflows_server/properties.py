"""The properties of Administration > Configuration, and the file in which a site may set them."""

import re

# The property table: (name, title, description, default, group, secret).
# Names of the group MLOps are attested, except those in MEANINGS; titles and descriptions are plausible inventions.
# fmt: off
PROPERTIES = [
    # Seen on screens of the product.
    ("app.runOnCluster", "Run On Cluster", "Submit the jobs to the Spark cluster", "false", "App", False),
    ("app.sparkSubmitJar", "Spark Submit Jar", "Jar for Spark", "fire-core-3.1.0.jar", "App", False),
    ("app.postMessageURL", "Post Message URL", "Results", "http://localhost:8080/messageFromSparkJob", "App", False),
    ("app.fireHostPort", "Fire Host Port", "Java helpers", "http://localhost:8081", "App", False),
    ("app.firePySparkHostPort", "Fire PySpark Host Port", "PySpark helpers", "http://localhost:8085", "App", False),
    ("module.workflowTypes", "Workflow Types", "Engines that the editor offers", "spark,pyspark", "App", False),
    # Unrelated ones whose titles could mislead a search for a login.
    ("email.smtp.host", "Email SMTP Host", "Host that sends the e-mails", "", "Email", False),
    ("email.smtp.port", "Email SMTP Port", "Port of the SMTP host", "25", "Email", False),
    ("email.login.username", "Email Login Username", "Username for the SMTP host", "", "Email", False),
    ("email.login.password", "Email Login Password", "Password for the SMTP host", "", "Email", True),
    ("kafka.brokers", "Kafka Brokers", "Comma separated list of brokers", "", "Kafka", False),
    ("ui.pageSize", "Page Size", "Rows per page in lists", "10", "UI", False),
    # The 26 attested keys.
    ("mlops.mlflow.trackingURL", "MLflow Server URL", "URL of the MLflow tracking server", "", "MLOps", False),
    ("mlops.mlflow.deploy.mode", "MLflow Deploy Mode", "local, remote or fire_mlops_server", "local", "MLOps", False),
    ("mlops.port", "Fire MLOps Port", "Port of the Fire MLOps server", "8086", "MLOps", False),
    ("mlops.aws.s3.access.key", "AWS S3 Access Key", "Access key of the registry store", "", "MLOps", True),
    ("mlops.aws.s3.secret.key", "AWS S3 Secret Key", "Secret key of the registry store", "", "MLOps", True),
    ("mlops.aws.s3.endpoint.url", "AWS S3 Endpoint URL", "End point of an S3 compatible store", "", "MLOps", False),
    ("mlops.aws.s3.ignore.tls", "AWS S3 Ignore TLS", "Do not verify the certificate", "false", "MLOps", False),
    ("mlops.models.state.values", "Model State Values", "States of a model", "Dev,QA,Production", "MLOps", False),
    ("mlops.target.deployment", "Target Deployment", "Where models are deployed", "", "MLOps", False),
    ("mlops.timeout", "MLOps Timeout", "Seconds to wait for a deployment", "", "MLOps", False),
    ("mlops.docker.registry.sparkflows", "Docker Registry", "Registry for the images of models", "", "MLOps", False),
    ("mlops.docker.context.path", "Docker Context Path", "Directory from which images are built", "", "MLOps", False),
    ("mlops.fire.server.jar.name", "Fire Server Jar Name", "Jar that goes into the images", "", "MLOps", False),
    ("mlops.deployment.container.port", "Deployment Container Port", "Port in the container", "5000", "MLOps", False),
    ("mlops.service.port", "Service Port", "Port of the Kubernetes service", "80", "MLOps", False),
    ("mlops.service.target.port", "Service Target Port", "Target port of the service", "5000", "MLOps", False),
    ("mlops.kubeflow.namespace", "Kubeflow Namespace", "Namespace of Kubeflow", "", "MLOps", False),
    ("mlops.kubernetes.images.namespace", "Kubernetes Images Namespace", "Namespace of the images", "", "MLOps", False),
    ("mlops.kubeflow.username", "Kubeflow Username", "Login at Kubeflow", "", "MLOps", False),
    ("mlops.kubeflow.password", "Kubeflow Password", "Password at Kubeflow", "", "MLOps", True),
    ("mlops.kubeflow.config.path", "Kubeflow Config Path", "Configuration file of Kubeflow", "", "MLOps", False),
    ("mlops.kubeflow.hostport", "Kubeflow Host Port", "Host and port of Kubeflow", "", "MLOps", False),
    ("mlops.kubernetes.config.path", "Kubernetes Config Path", "Configuration file of Kubernetes", "", "MLOps", False),
    ("mlops.region", "Region", "AWS region for SageMaker", "", "MLOps", False),
    ("mlops.aws_id", "AWS Id", "AWS account for SageMaker", "", "MLOps", False),
    ("mlops.arn", "ARN", "Role for SageMaker", "", "MLOps", False),
    # The guide names these by title only; their real keys are not published. `Settings.names` renames or removes them.
    ("mlops.mlflow.login.username", "MLflow Login Username", "Username, if any", "", "MLOps", False),
    ("mlops.mlflow.login.password", "MLflow Login Password", "Password, if any", "", "MLOps", True),
    ("mlops.host", "Fire MLOps Host", "Host of the Fire MLOps server", "", "MLOps", False),
    ("mlops.mlflow.ssh.key.path", "MLflow SSH Key Path", "Path of the SSH key for MLflow", "", "MLOps", False),
]
# fmt: on
MEANINGS = {
    "mlflow_username": "mlops.mlflow.login.username",
    "mlflow_password": "mlops.mlflow.login.password",
    "fire_mlops_host": "mlops.host",
    "ssh_key_path": "mlops.mlflow.ssh.key.path",
}
PROPERTY_FIELDS = ("name", "title", "description", "default", "group", "secret")


# conf/configuration.properties, as java.util.Properties reads it.
def parse_properties(data):
    """{key: value} of a Java properties file (bytes: the format is Latin-1 with \\uXXXX escapes)."""
    lines, pending = [], None
    for line in re.split(r"\r\n|\r|\n", data.decode("latin-1")):
        line = line.lstrip(" \t\f")
        if pending is None and (not line or line[0] in "#!"):
            continue
        line = (pending or "") + line
        if (len(line) - len(line.rstrip("\\"))) % 2:
            pending = line[:-1]
            continue
        lines.append(line)
        pending = None
    if pending:
        lines.append(pending)

    def one(match):
        what = match[1]
        if what == "u":  # Java does not start with such a file either
            raise ValueError("Malformed \\uxxxx encoding.")
        return (
            chr(int(what[1:], 16)) if len(what) == 5 else {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(what, what)
        )

    def unescape(text):
        text = re.sub(r"\\(u[0-9a-fA-F]{4}|.)", one, text, flags=re.S)
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # beyond the basic plane: two escapes

    result = {}
    for line in lines:
        match = re.match(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(.*)", line, re.S)
        result[unescape(match[1])] = unescape(match[2])
    return result
