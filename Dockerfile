# One image for every component and for the startup gate.
FROM python:3.11-slim AS build
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir uv \
 && uv venv /opt/grovekeeper \
 && uv pip install --python /opt/grovekeeper/bin/python --requirement requirements.lock \
 && uv pip install --python /opt/grovekeeper/bin/python --no-deps .

FROM python:3.11-slim
COPY --from=build /opt/grovekeeper /opt/grovekeeper
# The gate is one file of the standard library: started without site-packages it is up in well under 100 ms. This takes
# the place of the package's own script, which comes first in the PATH.
RUN printf '#!/bin/sh\nexec /opt/grovekeeper/bin/python -I -S /opt/grovekeeper/lib/python3.11/site-packages/grovekeeper/initgate.py "$@"\n' \
    > /opt/grovekeeper/bin/grovekeeper-initgate && chmod 0755 /opt/grovekeeper/bin/grovekeeper-initgate
ENV PATH=/opt/grovekeeper/bin:$PATH PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["grovekeeper"]
