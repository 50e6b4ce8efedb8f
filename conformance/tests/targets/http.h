/* As much of HTTP/1.1 as a server of one small page needs. */
#ifndef HTTP_H
#define HTTP_H

#include "server.h"

#include <strings.h>

#define MOST_HEAD 8192
#define MOST_ANSWER 512

/* The length of the request's head at the begin of `bytes`, with its blank line; 0 as long as it is
 * not whole. */
static inline size_t head_length(const char *bytes, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        if (bytes[at] != '\n')
            continue;
        if (at + 1 < count && bytes[at + 1] == '\n')
            return at + 2;
        if (at + 2 < count && bytes[at + 1] == '\r' && bytes[at + 2] == '\n')
            return at + 3;
    }
    return 0;
}

/* The value of a header, up to its line's end; NULL if it is not there. */
static inline const char *header(const char *head, size_t length, const char *name)
{
    size_t name_length = strlen(name);
    for (size_t at = 0; at + name_length + 1 < length; at++) {
        if (head[at] != '\n' || strncasecmp(head + at + 1, name, name_length) != 0)
            continue;
        if (at + 1 + name_length < length && head[at + 1 + name_length] == ':')
            return head + at + 2 + name_length + strspn(head + at + 2 + name_length, " \t");
    }
    return NULL;
}

/* Writes the answer to a request, at most MOST_ANSWER bytes; `*close` says whether the connection
 * ends with it. `head` is a string. */
static inline size_t answer_head(const char *head, size_t length, char *out, int *close)
{
    static const char BODY[] = "hello\n";
    const char *connection = header(head, length, "Connection"), *status = "200 OK", *body = BODY;
    int is_head = strncmp(head, "HEAD ", 5) == 0;
    const char *target = strchr(head, ' '), *version = strstr(head, " HTTP/1.1");
    int new = version != NULL && version < head + strcspn(head, "\r\n");
    *close = !options.keep_alive || !new ||
             (connection != NULL && strncasecmp(connection, "close", 5) == 0);
    if (length == 0) {
        status = "431 Request Header Fields Too Large";
    } else if (!is_head && strncmp(head, "GET ", 4) != 0) {
        status = "501 Not Implemented";
    } else if (header(head, length, "Content-Length") != NULL ||
               header(head, length, "Transfer-Encoding") != NULL) {
        status = "413 Content Too Large";
    } else if (target == NULL || target[1] != '/') {
        status = "400 Bad Request";
    } else if (target[2] != ' ') {
        body = "no such page\n";
        status = "404 Not Found";
    }
    if (status[0] != '2' && body == BODY) {
        body = "no\n";
        *close = 1;
    }
    return (size_t)snprintf(out, MOST_ANSWER,
                            "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                            "Connection: %s\r\n\r\n%s",
                            status, strlen(body), *close ? "close" : "keep-alive",
                            is_head ? "" : body);
}

#endif
