// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The text in which a monitor describes its memory. It comes from whoever may
 * connect: nothing in it is believed.
 */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "handoff.h"

#define DEPTH_MAX 8
#define PAGE_SIZE_MAX (1ULL << 30)

/* A whole number that is not negative; anything else is refused. */
static int read_number(struct json_object *region, const char *key,
		       uint64_t *value)
{
	struct json_object *member;

	if (!json_object_object_get_ex(region, key, &member))
		return -ENOENT;
	if (!json_object_is_type(member, json_type_int) ||
	    json_object_get_int64(member) < 0)
		return -EBADMSG;
	*value = json_object_get_uint64(member);
	/* What does not fit is made the largest number there is. */
	return *value == UINT64_MAX ? -EBADMSG : 0;
}

static int read_region(struct json_object *from, uint64_t before,
		       struct rwp_handoff_region *region, const char **wrong)
{
	int ret;

	if (!json_object_is_type(from, json_type_object)) {
		*wrong = "is no object";
		return -EBADMSG;
	}
	*wrong = "has no usable \"base_host_virt_addr\"";
	ret = read_number(from, "base_host_virt_addr", &region->start);
	if (!ret) {
		*wrong = "has no usable \"size\"";
		ret = read_number(from, "size", &region->size);
	}
	if (ret)
		return -EBADMSG;
	*wrong = "has no usable \"offset\"";
	ret = read_number(from, "offset", &region->offset);
	if (ret == -ENOENT) {
		region->offset = before;
		ret = 0;
	}
	if (ret)
		return ret;
	*wrong = "has no usable \"page_size\"";
	ret = read_number(from, "page_size", &region->page_size);
	/* In bytes too, whatever its name says. */
	if (ret == -ENOENT)
		ret = read_number(from, "page_size_kib", &region->page_size);
	if (ret == -ENOENT) {
		region->page_size = rwpi_page_size();
		ret = 0;
	}
	return ret;
}

static const char *check_region(const struct rwp_handoff_region *region)
{
	uint64_t page = region->page_size;

	if (page < rwpi_page_size() || page > PAGE_SIZE_MAX ||
	    page & (page - 1))
		return "has a page size that no page has";
	if (!region->size)
		return "is empty";
	if ((region->start | region->size | region->offset) & (page - 1))
		return "is not of whole pages";
	if (region->start + region->size < region->start ||
	    region->offset + region->size < region->offset)
		return "goes beyond the end of the address space";
	return NULL;
}

static bool overlaps(const struct rwp_handoff_region *region,
		     unsigned int count, const struct rwp_handoff_region *new)
{
	for (unsigned int i = 0; i < count; i++)
		if (region[i].start < new->start + new->size &&
		    new->start < region[i].start + region[i].size)
			return true;
	return false;
}

static int read_regions(struct json_object *array, unsigned int count,
			struct rwp_handoff_region *region,
			struct rwp_error *err)
{
	uint64_t before = 0;

	for (unsigned int i = 0; i < count; i++) {
		const char *wrong = NULL;
		int ret = read_region(json_object_array_get_idx(array, i),
				      before, &region[i], &wrong);

		if (ret)
			return rwpi_error(err, ret, "region %u %s", i, wrong);
		wrong = check_region(&region[i]);
		if (!wrong && overlaps(region, i, &region[i]))
			wrong = "overlaps another";
		if (wrong)
			return rwpi_error(err, -EINVAL, "region %u %s", i,
					  wrong);
		before = region[i].offset + region[i].size;
	}
	return count;
}

static int read_message(struct json_object *message,
			struct rwp_handoff_region **out, struct rwp_error *err)
{
	struct json_object *array = message;
	struct rwp_handoff_region *region;
	size_t count;
	int ret;

	if (json_object_is_type(message, json_type_object) &&
	    !json_object_object_get_ex(message, "regions", &array))
		array = NULL;
	if (!array || !json_object_is_type(array, json_type_array))
		return rwpi_error(err, -EBADMSG,
				  "the message is no list of regions");
	count = json_object_array_length(array);
	if (!count || count > RWP_HANDOFF_REGIONS_MAX)
		return rwpi_error(err, -EINVAL,
				  "the message has %zu regions, not 1 to %d",
				  count, RWP_HANDOFF_REGIONS_MAX);
	region = calloc(count, sizeof(*region));
	if (!region)
		return rwpi_fail(err, -ENOMEM, "%zu regions", count);
	ret = read_regions(array, count, region, err);
	if (ret < 0)
		free(region);
	else
		*out = region;
	return ret;
}

/* Behind the message: nothing but white space, or the end of a C string. */
static bool only_space(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] && !strchr(" \t\r\n", text[i]))
			return false;
	return true;
}

int rwp_handoff_parse(const char *text, size_t len,
		      struct rwp_handoff_region **region,
		      struct rwp_error *err)
{
	struct json_tokener *tokener;
	enum json_tokener_error state;
	struct json_object *message;
	size_t end;
	int ret;

	if (len > RWP_HANDOFF_TEXT_MAX)
		return rwpi_error(err, -EBADMSG,
				  "the message is longer than %d bytes",
				  RWP_HANDOFF_TEXT_MAX);
	tokener = json_tokener_new_ex(DEPTH_MAX);
	if (!tokener)
		return rwpi_fail(err, -ENOMEM, "a message");
	message = json_tokener_parse_ex(tokener, text, len);
	state = json_tokener_get_error(tokener);
	end = json_tokener_get_parse_end(tokener);
	if (state == json_tokener_continue)
		ret = rwpi_error(err, -EAGAIN, "the message is not complete");
	else if (state != json_tokener_success ||
		 !only_space(text + end, len - end))
		ret = rwpi_error(err, -EBADMSG,
				 "the message is no JSON, from byte %zu on",
				 end);
	else
		ret = read_message(message, region, err);
	json_object_put(message);
	json_tokener_free(tokener);
	return ret;
}
