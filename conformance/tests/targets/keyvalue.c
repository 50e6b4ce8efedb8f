/*
 * A small store in one process, with poll, for the tests. See server.h for the options.
 *
 *   SET KEY VALUE -> OK     GET KEY -> the value, or NONE     ECHO TEXT -> TEXT
 */
#include "loop.h"

#define MOST_ENTRIES 256
#define MOST_KEY 64
#define MOST_VALUE 1024

static struct entry {
    char key[MOST_KEY], value[MOST_VALUE];
} entries[MOST_ENTRIES];

static struct entry *find(const char *key)
{
    for (size_t at = 0; at < MOST_ENTRIES; at++)
        if (strcmp(entries[at].key, key) == 0)
            return &entries[at];
    return NULL;
}

static const char *execute(char *line)
{
    char *key = strchr(line, ' '), *value;
    struct entry *entry;
    if (key == NULL)
        return "ERROR what?";
    *key++ = '\0';
    if (strcmp(line, "ECHO") == 0)
        return key;
    if (strcmp(line, "GET") == 0) {
        entry = *key == '\0' ? NULL : find(key);
        return entry == NULL ? "NONE" : entry->value;
    }
    value = strchr(key, ' ');
    if (strcmp(line, "SET") != 0 || value == NULL || value == key)
        return "ERROR what?";
    *value++ = '\0';
    if (strlen(key) >= MOST_KEY || strlen(value) >= MOST_VALUE)
        return "ERROR too long";
    entry = find(key);
    if (entry == NULL)
        entry = find("");
    if (entry == NULL)
        return "ERROR full";
    memcpy(entry->key, key, strlen(key) + 1);
    memcpy(entry->value, value, strlen(value) + 1);
    return "OK";
}

static size_t answer(struct client *client)
{
    char *newline = memchr(client->in, '\n', client->held);
    const char *answer;
    size_t length, said;
    if (client->last)
        return 0;
    if (newline == NULL) {
        /* A line that is longer than any can be. */
        if (client->held == MOST_REQUEST)
            client->last = 1;
        return 0;
    }
    length = (size_t)(newline - client->in) + 1;
    if (client->unsent + length + MOST_VALUE > MOST_ANSWERS)
        return 0;
    *newline = '\0';
    if (newline > client->in && newline[-1] == '\r')
        newline[-1] = '\0';
    answer = execute(client->in);
    said = strlen(answer);
    memcpy(client->out + client->unsent, answer, said);
    memcpy(client->out + client->unsent + said, "\r\n", 2);
    client->unsent += said + 2;
    return length;
}

static void no_option(int letter, const char *value)
{
    (void)letter;
    (void)value;
}

int main(int count, char **arguments)
{
    start(count, arguments, "", no_option);
    set_up();
    announce();
    serve_clients(0);
    end(0);
}
