/*
 * A name service for scratch hosts, which behaves as its control file says: slow, hanging, failing, right.
 * glibc loads it into whatever looks an account up on that host; the control file is root's.
 *
 * The file's first line is `ok`, `slow MILLISECONDS`, `hang`, `tryagain ERRNO` or `unavail ERRNO`; each further
 * line is an account, `NAME UID`. It is read anew for every look-up, and again and again by one that hangs.
 * All these accounts are in the group `directory`.
 */
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONTROL "/etc/scratch-name-service"
#define GROUP "directory"
#define GROUP_ID 61500

static void wait_for(long milliseconds)
{
    struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        ;
}

/* The mode and its number; the stream then stands before the accounts. */
static FILE *read_mode(char mode[16], int *number)
{
    FILE *control = fopen(CONTROL, "re");
    char line[64];
    *number = 0;
    if (control == NULL)
        return NULL;
    if (fgets(line, sizeof line, control) == NULL || sscanf(line, "%15s %d", mode, number) < 1) {
        fclose(control);
        return NULL;
    }
    return control;
}

static enum nss_status answer(FILE *control, const char *name, struct passwd *account, char *buffer, size_t size,
                              int *error)
{
    char known[64];
    unsigned int uid;
    while (fscanf(control, "%63s %u", known, &uid) == 2) {
        if (strcmp(known, name) != 0)
            continue;
        int length = snprintf(buffer, size, "%s", known);
        if (length < 0 || (size_t)length + 1 >= size) {
            *error = ERANGE;
            return NSS_STATUS_TRYAGAIN;
        }
        char *empty = buffer + length;
        *account = (struct passwd){ .pw_name = buffer, .pw_passwd = empty, .pw_uid = uid, .pw_gid = uid,
                                    .pw_gecos = empty, .pw_dir = empty, .pw_shell = empty };
        return NSS_STATUS_SUCCESS;
    }
    return NSS_STATUS_NOTFOUND;
}

/* The accounts, after the mode was obeyed; NULL and the status where there is no answer. */
static FILE *obey(enum nss_status *status, int *error)
{
    char mode[16];
    int number;
    FILE *control = read_mode(mode, &number);
    while (control != NULL && strcmp(mode, "hang") == 0) {
        fclose(control);
        wait_for(10);
        control = read_mode(mode, &number);
    }
    *status = NSS_STATUS_UNAVAIL;
    if (control == NULL) {
        *error = EIO;
        return NULL;
    }
    if (strcmp(mode, "slow") == 0)
        wait_for(number);
    if (strcmp(mode, "tryagain") == 0 || strcmp(mode, "unavail") == 0) {
        *error = number;
        *status = mode[0] == 't' ? NSS_STATUS_TRYAGAIN : NSS_STATUS_UNAVAIL;
        fclose(control);
        return NULL;
    }
    return control;
}

enum nss_status _nss_countersigntest_getpwnam_r(const char *name, struct passwd *account, char *buffer, size_t size,
                                                int *error)
{
    enum nss_status status;
    FILE *control = obey(&status, error);
    if (control == NULL)
        return status;
    status = answer(control, name, account, buffer, size, error);
    fclose(control);
    return status;
}

/* The group without its members: whoever is in it is told by initgroups. */
static enum nss_status group(int known, struct group *found, char *buffer, size_t size, int *error)
{
    enum nss_status status;
    FILE *control = obey(&status, error);
    if (control == NULL)
        return status;
    fclose(control);
    if (!known)
        return NSS_STATUS_NOTFOUND;
    if (size < sizeof GROUP + 2 * sizeof(char *)) {
        *error = ERANGE;
        return NSS_STATUS_TRYAGAIN;
    }
    char **members = (char **)(((uintptr_t)buffer + sizeof(char *) - 1) / sizeof(char *) * sizeof(char *));
    members[0] = NULL;
    char *name = strcpy((char *)(members + 1), GROUP);
    *found = (struct group){ .gr_name = name, .gr_passwd = name + sizeof GROUP - 1, .gr_gid = GROUP_ID,
                             .gr_mem = members };
    return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_countersigntest_getgrnam_r(const char *name, struct group *found, char *buffer, size_t size,
                                                int *error)
{
    return group(strcmp(name, GROUP) == 0, found, buffer, size, error);
}

enum nss_status _nss_countersigntest_getgrgid_r(gid_t id, struct group *found, char *buffer, size_t size, int *error)
{
    return group(id == GROUP_ID, found, buffer, size, error);
}

enum nss_status _nss_countersigntest_initgroups_dyn(const char *name, gid_t skipped, long int *start, long int *size,
                                                    gid_t **groups, long int limit, int *error)
{
    enum nss_status status;
    struct passwd account;
    char buffer[128];
    FILE *control = obey(&status, error);
    (void)skipped;
    (void)limit;
    if (control == NULL)
        return status;
    status = answer(control, name, &account, buffer, sizeof buffer, error);
    fclose(control);
    if (status != NSS_STATUS_SUCCESS)
        return status;
    if (*start == *size) {
        gid_t *larger = realloc(*groups, (size_t)(*size + 16) * sizeof **groups);
        if (larger == NULL) {
            *error = ENOMEM;
            return NSS_STATUS_TRYAGAIN;
        }
        *groups = larger;
        *size += 16;
    }
    (*groups)[(*start)++] = GROUP_ID;
    return NSS_STATUS_SUCCESS;
}
