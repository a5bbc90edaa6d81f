//! The lines that mend what was found, for each proxy.

use super::finding::Problem;

/// For nginx, Caddy, Traefik and ingress-nginx. `NAME` stands for the header or method in question.
type Lines = [&'static str; 4];

/// What mends a problem.
pub(super) fn lines(problem: &Problem) -> Lines {
    match problem {
        Problem::RequestBuffered => [
            "proxy_request_buffering off;",
            "remove request_buffers from reverse_proxy",
            "remove the buffering middleware from the router",
            "nginx.ingress.kubernetes.io/proxy-request-buffering: \"off\"",
        ],
        Problem::ChunksBuffered => [
            "proxy_http_version 1.1;   # beside proxy_request_buffering off;",
            "remove `versions` and request_buffers from reverse_proxy",
            "remove the buffering middleware from the router",
            "nginx.ingress.kubernetes.io/proxy-http-version: \"1.1\"",
        ],
        Problem::ChunksRefused => [
            "remove chunked_transfer_encoding off;   # and whatever asks for a Content-Length",
            "remove what asks for {header.Content-Length}",
            "remove what asks for a Content-Length",
            "remove what asks for a Content-Length from the snippets",
        ],
        Problem::BodyCapped => [
            "client_max_body_size 0;",
            "remove max_size from request_body",
            "buffering.maxRequestBodyBytes: 0",
            "nginx.ingress.kubernetes.io/proxy-body-size: \"0\"",
        ],
        Problem::SlowBodyEnded => [
            "client_body_timeout 300s; proxy_send_timeout 300s; proxy_read_timeout 300s;",
            "servers { timeouts { read_body 0 } }   # in the global options",
            "entryPoints.<name>.transport.respondingTimeouts.readTimeout: 0",
            "client-body-timeout: \"300\"   # in the ConfigMap",
        ],
        Problem::ExpectRefused => [
            "remove what answers 417",
            "remove what answers 417",
            "remove what answers 417",
            "remove what answers 417 from the snippets",
        ],
        Problem::StaysLocked => [
            "proxy_ignore_client_abort off; proxy_request_buffering off;",
            "remove request_buffers from reverse_proxy",
            "remove the buffering middleware from the router",
            "nginx.ingress.kubernetes.io/proxy-request-buffering: \"off\"",
        ],
        Problem::HeadCapped => [
            "large_client_header_buffers 4 32k;",
            "servers { max_header_size 64KiB }   # in the global options",
            "entryPoints.<name>.http.maxHeaderBytes: 65536",
            "large-client-header-buffers: \"4 32k\"   # in the ConfigMap",
        ],
        Problem::RateLimited => [
            "limit_req zone=<name> burst=50 nodelay;   # or none for uploads",
            "remove rate_limit, or raise its events",
            "raise rateLimit.average and rateLimit.burst",
            "remove nginx.ingress.kubernetes.io/limit-rps and limit-connections",
        ],
        Problem::NoKeepAlive => [
            "keepalive_timeout 75s;   # and no `add_header Connection close`",
            "servers { timeouts { idle 5m } }   # in the global options",
            "entryPoints.<name>.transport.respondingTimeouts.idleTimeout: 180s",
            "keep-alive: \"75\"   # in the ConfigMap",
        ],
        _ => of_routes(problem),
    }
}

fn of_routes(problem: &Problem) -> Lines {
    match problem {
        Problem::Certificate => [
            "ssl_certificate fullchain.pem;   # the chain, not the last certificate alone; of this name",
            "remove `tls internal`; Caddy gets a certificate of the name by itself",
            "tls.certResolver: <name>   # on the router",
            "tls.secretName: <secret>   # in the Ingress, for this host",
        ],
        Problem::Redirected => [
            "location /files { ... }   # without the slash at the end; or give clients the URL that it leads to",
            "handle /files* { ... }; or give clients the URL that it leads to",
            "remove redirectRegex and redirectScheme from the router; or give clients the URL that it leads to",
            "nginx.ingress.kubernetes.io/ssl-redirect: \"false\"; or give clients the URL that it leads to",
        ],
        Problem::OptionsAnswered | Problem::PreflightRefused => [
            "remove `if ($request_method = OPTIONS) { return ...; }`, and keep auth off it: limit_except OPTIONS { ... }",
            "remove `respond` for OPTIONS, and keep auth off it: @rest not method OPTIONS",
            "remove headers.accessControl..., and keep auth off it: a router with Method(`OPTIONS`)",
            "nginx.ingress.kubernetes.io/enable-cors: \"false\"",
        ],
        Problem::MethodRefused(_) => [
            "let limit_except and `if ($request_method ...)` allow NAME",
            "@uploads method GET POST HEAD PATCH DELETE OPTIONS",
            "let the router's rule name no Method(), or Method(`NAME`) as well",
            "remove what refuses NAME from the snippets",
        ],
        Problem::HeadRewritten => [
            "proxy_cache off;   # or proxy_cache_convert_head off;",
            "remove cache, and `method GET` from rewrite",
            "remove the cache middleware",
            "remove proxy_cache from the snippets",
        ],
        Problem::HeadCached => {
            ["proxy_cache off;", "remove cache", "remove the cache middleware", "remove proxy_cache from the snippets"]
        }
        Problem::LocationScheme => [
            "proxy_set_header X-Forwarded-Proto $scheme;   # and server.behind_proxy = true in wharf",
            "remove header_up X-Forwarded-Proto; Caddy sets it",
            "entryPoints.<name>.forwardedHeaders.trustedIPs: [<the proxy before Traefik>]",
            "use-forwarded-headers: \"true\"   # in the ConfigMap, when another proxy ends TLS",
        ],
        Problem::LocationHost => [
            "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Host $http_host;",
            "remove header_up Host; Caddy keeps it",
            "loadBalancer.passHostHeader: true",
            "remove nginx.ingress.kubernetes.io/upstream-vhost",
        ],
        Problem::LocationPath => [
            "proxy_pass http://wharf;   # no path behind the name; server.base_path in wharf as in the location",
            "handle /files/* instead of handle_path /files/*",
            "remove the stripPrefix or replacePath middleware",
            "remove nginx.ingress.kubernetes.io/rewrite-target",
        ],
        _ => of_headers(problem),
    }
}

fn of_headers(problem: &Problem) -> Lines {
    match problem {
        Problem::RequestStripped(_) | Problem::HeaderLost(_) => [
            "remove `proxy_set_header NAME ...;` and `proxy_pass_request_headers off;`",
            "remove `header_up -NAME` and `request_header -NAME`",
            "remove NAME from headers.customRequestHeaders",
            "remove NAME from proxy-set-headers in the ConfigMap",
        ],
        Problem::AnswerStripped(_) => [
            "remove `proxy_hide_header NAME;`",
            "remove `header_down -NAME` and `header -NAME`",
            "remove NAME from headers.customResponseHeaders",
            "remove NAME from hide-headers in the ConfigMap",
        ],
        Problem::ErrorsReplaced => [
            "proxy_intercept_errors off;",
            "remove handle_response and handle_errors",
            "remove the errors middleware",
            "remove nginx.ingress.kubernetes.io/custom-http-errors",
        ],
        Problem::CorsTwice => [
            "remove `add_header Access-Control-Allow-Origin ...;`   # the server sends it, or cors.enabled = false in wharf",
            "remove `header Access-Control-Allow-Origin`",
            "remove headers.accessControlAllowOriginList",
            "nginx.ingress.kubernetes.io/enable-cors: \"false\"",
        ],
        Problem::CorsNotOnErrors => [
            "add_header Access-Control-Allow-Origin $http_origin always;   # or leave CORS to the server",
            "header Access-Control-Allow-Origin {header.Origin}   # in handle_errors as well",
            "remove headers.accessControl..., and leave CORS to the server",
            "nginx.ingress.kubernetes.io/enable-cors: \"false\"",
        ],
        Problem::OriginRefused | Problem::PreflightNarrow | Problem::HeaderHidden(_) => [
            "remove proxy_hide_header and add_header Access-Control-...   # wharf: see cors.allow_origin",
            "remove header Access-Control-...   # wharf: see cors.allow_origin",
            "remove headers.accessControl...   # wharf: see cors.allow_origin",
            "nginx.ingress.kubernetes.io/enable-cors: \"false\"   # wharf: see cors.allow_origin",
        ],
        Problem::Compressed => [
            "gzip off;   # for uploads; brotli and zstd as well",
            "remove encode, or let it match other paths only",
            "remove the compress middleware",
            "use-gzip: \"false\"   # in the ConfigMap; enable-brotli as well",
        ],
        Problem::RangeIgnored => [
            "remove `proxy_set_header Range ...;`",
            "remove `header_up -Range`",
            "remove Range from headers.customRequestHeaders",
            "remove Range from proxy-set-headers in the ConfigMap",
        ],
        // The others have their lines above.
        _ => [
            "remove sub_filter, add_before_body and add_after_body",
            "remove replace and templates",
            "remove the plugin that rewrites bodies",
            "remove sub_filter from the snippets",
        ],
    }
}
