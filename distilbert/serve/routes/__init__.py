# SPDX-License-Identifier: Apache-2.0
"""The routes of the server, by whose they are. Each file has `router(...) -> APIRouter`."""
