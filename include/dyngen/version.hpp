// SPDX-License-Identifier: MIT
#pragma once
// The version of the library, for `#if`. Every public header defines these three macros.

#define DYNGEN_VERSION_MAJOR 0
#define DYNGEN_VERSION_MINOR 1
#define DYNGEN_VERSION_PATCH 0
