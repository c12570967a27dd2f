<?php

declare(strict_types=1);

namespace Tms;

/** The files that rows of `documents` refer to, outside of the web root. */
final class Uploads
{
    private string $folder;

    public function __construct(?string $folder = null)
    {
        $this->folder = $folder ?? (getenv('UPLOADS_PATH') ?: dirname(__DIR__) . '/uploads');
    }

    /** The full path of a stored file, or null when it is gone or is not the file that was stored. */
    public function find(string $path, int $size, string $sha256): ?string
    {
        $full = realpath("{$this->folder}/$path");
        $inside = $full !== false && str_starts_with($full, realpath($this->folder) . '/');
        if (!$inside || filesize($full) !== $size) {
            return null;
        }
        return hash_equals($sha256, hash_file('sha256', $full)) ? $full : null;
    }
}
