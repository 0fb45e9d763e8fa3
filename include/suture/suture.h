/* SPDX-License-Identifier: MIT */
/* suture.h - the public C API of libsuture, all of it. */
#ifndef SUTURE_SUTURE_H
#define SUTURE_SUTURE_H

#include <suture/error.h>
#include <suture/patch.h>
#include <suture/process.h>

#define SUTURE_VERSION "0.1.0"

#endif
