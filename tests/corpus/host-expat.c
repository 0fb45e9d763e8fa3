/* SPDX-License-Identifier: MIT */
/*
 * host-expat - keeps libexpat in a process and misuses it on request, one word a line:
 *
 *	neglen     a buffer of negative length is parsed     (CVE-2024-45490)
 *	stopearly  the parser is stopped before it began     (CVE-2024-50602)
 *	parse      an ordinary document, which must always be accepted
 *
 * The answer is the word, the status that expat returned, and its error code.
 */
#include <expat.h>
#include <stdio.h>
#include <string.h>

static int stop_early(XML_Parser p)
{
	return XML_StopParser(p, XML_FALSE);
}

static int negative_length(XML_Parser p)
{
	if (!XML_GetBuffer(p, 64))
		return -1;
	return XML_ParseBuffer(p, -1, 0);
}

static int ordinary(XML_Parser p)
{
	static const char doc[] = "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY e 'x'>]><a b='1'>&e;<c/></a>";

	return XML_Parse(p, doc, (int)strlen(doc), 1);
}

int main(void)
{
	static const struct {
		const char *word;
		int (*run)(XML_Parser p);
	} request[] = { { "neglen", negative_length }, { "stopearly", stop_early }, { "parse", ordinary } };
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		XML_Parser p = XML_ParserCreate(NULL);

		line[strcspn(line, "\n")] = '\0';
		for (size_t i = 0; p && i < sizeof(request) / sizeof(request[0]); i++)
			if (strcmp(line, request[i].word) == 0) {
				int status = request[i].run(p);

				printf("%s %d err %d\n", line, status, (int)XML_GetErrorCode(p));
			}
		XML_ParserFree(p);
	}
	return 0;
}
