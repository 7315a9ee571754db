#!/bin/sh
# by_hand.sh <package mirror> <archive of Python 3.7>
#
# What the admin guide has an administrator do on a bare MLflow host (Debian 13, as root): JDK 1.8, Python 3.7, the nine pinned packages, MLflow's
# server. One pip for all nine is the quickest way to read the guide; its h2o-pysparkling ..post was never published, .post1 was.
set -eu
mirror=$1 archive=$2
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CERT=/etc/ssl/certs/ca-certificates.crt

# JDK 1.8: Debian has it in its unstable suite only, and nothing else is to come from there.
echo "deb [check-valid-until=no signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror unstable main" >/etc/apt/sources.list.d/jdk8.list
printf 'Package: *\nPin: release a=unstable\nPin-Priority: -1\n\nPackage: openjdk-8-*\nPin: release a=unstable\nPin-Priority: 500\n' >/etc/apt/preferences.d/jdk8
apt-get -qq update
apt-get -qq install -y --no-install-recommends openjdk-8-jdk-headless >/dev/null

# Python 3.7: no distribution has it; somebody has built it.
tar -xzf "$archive" -C /opt
/opt/python/bin/python3.7 -m venv /opt/venv

/opt/venv/bin/pip install --quiet h2o-pysparkling-3.2==3.36.1.2.post1 pyspark==3.2.1 mlflow==1.30.1 boto3==1.28.50 Flask==2.2.4 click==8.1.3 \
  tornado==6.2 pylint==2.5.3 numpy==1.21.6

mkdir -p /srv/mlflow
cd /srv/mlflow
PATH=/opt/venv/bin:$PATH nohup mlflow server --backend-store-uri sqlite:////srv/mlflow/mlflow.db --default-artifact-root /srv/mlflow/artifacts \
  --host 0.0.0.0 --port 5000 >mlflow.log 2>&1 </dev/null &
for _second in $(seq 120); do
  ! /opt/venv/bin/python -c 'import urllib.request; urllib.request.urlopen("http://127.0.0.1:5000/health")' 2>/dev/null || exit 0
  sleep 1
done
cat mlflow.log >&2
exit 1
