# The operator and the gateway. hack/image makes the same image where there is no Docker engine.

FROM node:22-slim AS page
WORKDIR /web
COPY web/package.json web/package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY web/index.html web/tsconfig.json web/vite.config.ts ./
COPY web/public public
COPY web/src src
RUN npm run build

FROM python:3.13-slim AS build
WORKDIR /source
COPY requirements/operator.txt requirements/
RUN python -m venv /opt/notifications-operator \
    && /opt/notifications-operator/bin/pip install --no-cache-dir --no-deps \
        --require-hashes --only-binary=:all: --requirement requirements/operator.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY --from=page /web/dist operator/notifications_operator/gateway/page/dist
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && /opt/notifications-operator/bin/pip install --no-cache-dir --no-deps --no-index \
        --find-links /wheels notifications-operator \
    && /opt/notifications-operator/bin/pip uninstall --yes pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="notifications-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.13/ensurepip \
        /usr/local/lib/python3.13/site-packages/pip* \
    && echo "notifications:x:65532:65532::/nonexistent:/usr/sbin/nologin" >>/etc/passwd \
    && echo "notifications:x:65532:" >>/etc/group
COPY --from=build /opt/notifications-operator /opt/notifications-operator
ENV PATH="/opt/notifications-operator/bin:/usr/local/bin:/usr/bin:/bin" \
    LANG="C.UTF-8" \
    PYTHONUNBUFFERED="1" \
    PYTHONDONTWRITEBYTECODE="1"
USER 65532:65532
WORKDIR /
ENTRYPOINT ["notifications-operator"]
