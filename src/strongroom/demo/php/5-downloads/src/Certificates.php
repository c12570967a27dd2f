<?php

declare(strict_types=1);

namespace Tms;

/** A trainee's own certificates; row security hides everybody else's. */
final class Certificates
{
    public function __construct(private Database $database, private string $userId)
    {
    }

    /** @return list<array<string, mixed>> those with a paper first, then the newest */
    public function all(): array
    {
        return $this->database->rowsAs(
            'authenticated',
            $this->userId,
            'SELECT v.number, v.course_code, v.title, v.issued_on, v.expires_on, v.status,'
            . ' d.sha256, d.size_bytes'
            . ' FROM public.trainee_certificates v'
            . ' LEFT JOIN public.documents d ON d.certificate_id = v.id'
            . ' WHERE v.trainee_id IN (SELECT id FROM public.trainees WHERE user_id = auth.uid())'
            . ' ORDER BY d.sha256 IS NULL, v.issued_on DESC, v.number',
        );
    }

    /** @return ?array{file_path: string, size_bytes: int, sha256: string, media_type: string} */
    public function paper(string $number): ?array
    {
        $found = $this->database->rowsAs(
            'authenticated',
            $this->userId,
            'SELECT d.file_path, d.size_bytes, d.sha256, d.media_type FROM public.documents d'
            . ' JOIN public.certificates c ON c.id = d.certificate_id WHERE c.number = :number',
            ['number' => $number],
        );
        return $found[0] ?? null;
    }
}
