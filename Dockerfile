# Two stages: the first installs the locked packages, the second takes only the result. The program
# runs as a user without rights, writes to /srv/trader alone, and needs no shell.
FROM python:3.11-slim-bookworm AS packages
WORKDIR /build
RUN python -m venv /opt/venv
COPY requirements.txt .
RUN /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt \
    && /opt/venv/bin/pip uninstall --yes pip setuptools
# What only builders and testers of these packages need: a fifth of the size. numpy's tests stay,
# numpy.testing reads from them.
WORKDIR /opt/venv/lib/python3.11/site-packages
RUN find pandas scipy sklearn pyarrow joblib numba plotly -type d -name tests -prune \
        -exec rm -r {} + \
    && rm -r pyarrow/include pyarrow/libarrow_flight.* pyarrow/_flight.* plotly/labextension \
        talib/*.c

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="AI crypto trader for Kraken" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin trader \
    && install -d -o trader -g trader -m 700 \
        /srv/trader /srv/trader/data /srv/trader/models /srv/trader/logs
COPY --from=packages /opt/venv /opt/venv
COPY *.py requirements.txt MIT_LICENSE /app/
COPY commands /app/commands
COPY scripts /app/scripts
COPY trader /app/trader
RUN python -m compileall -q /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /srv/trader
VOLUME ["/srv/trader/data", "/srv/trader/models", "/srv/trader/logs"]
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/app/scripts/healthcheck.py"]
ENTRYPOINT ["python", "/app/run_trader.py"]
CMD ["start", "--no-dashboard"]
