# The image of every stage: docker build -t sluice .
FROM golang:1.26-bookworm AS build
ENV CGO_ENABLED=0
WORKDIR /src

# As long as go.mod stands, these layers do: all modules, and compiled what takes longest to compile.
COPY go.mod go.sum ./
RUN go mod download
RUN go build -trimpath std github.com/twmb/franz-go/pkg/kgo github.com/twmb/franz-go/pkg/kfake \
    github.com/aws/aws-sdk-go-v2/service/dynamodb github.com/prometheus/client_golang/prometheus/promhttp

# With .git and the git program here, `sluice version` knows its commit. A checkout whose .git is a file, such as a
# worktree, wants --build-arg BUILDVCS=false.
ARG BUILDVCS=auto
COPY . .
RUN go build -trimpath -buildvcs=${BUILDVCS} -ldflags="-s -w" -o /out/sluice .
# A named volume takes the owner of the directory that it is first mounted on.
RUN mkdir /out/data && mkdir -m 700 /out/tokens

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/tokens /tokens
COPY --from=build /out/sluice /sluice
USER 65532:65532
WORKDIR /data
# Health and metrics are for other containers too; a port that is not published is not reached from outside.
ENV SLUICE_ADMIN__LISTEN=0.0.0.0:8081
EXPOSE 3000 8080 8081
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["/sluice", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/sluice"]
CMD ["help"]
