# Stands below the execution environment in the place of the image that execution-environment.yml names: the same distribution, together with what
# the build would otherwise fetch from Ansible's registry of collections, and with this computer's certificate authorities.
ARG BASE
FROM ${BASE}
COPY ca/ /usr/local/share/ca-certificates/
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates \
 && update-ca-certificates \
 && apt-get clean
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
COPY collections/ /usr/share/ansible/collections/
